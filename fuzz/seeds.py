#!/usr/bin/env python3
"""Makes the seeds that are not text.

Run `fuzz/seeds.py` after a change of the targets' input or of the wire format.
"""

import struct
import sys
from pathlib import Path

FUZZ = Path(__file__).parent
sys.path.insert(0, str(FUZZ / "../tests/fixtures"))
sys.dont_write_bytecode = True

import wire

# The bits of a frame's first byte for fuzz/targets/receive.rs.
RAW, SEALED, REPLY, IPV6 = 1, 2, 4, 8
# The node of the program, the peer, and their key and cluster: tests/src/kernel/world.rs and
# frames.rs.
US, PEER, CLUSTER = 1, 2, 0x00C10572
KEY_ID, KEY = 7, bytes(range(16))

PREPARE, ACCEPT, RELEASE, RENEW = 1, 2, 3, 4
BALLOT = 5 << 16 | PEER


def entry(operation, group=1, micros=60_000, ballot=BALLOT):
    return group, operation, 0, micros, ballot


def heartbeat(kind, asks=()):
    return wire.heartbeat(
        KEY, asks, kind=kind, key_id=KEY_ID, cluster=CLUSTER, source=PEER, destination=US, state=2,
        incarnation=5_000 + PEER, sequence=9, nonce=0xFEED,
    )


def checksum(data):
    total = sum(word for (word,) in struct.iter_unpack(">H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(payload, vlans=(), ipv6=False):
    udp = struct.pack(">HHHH", wire.PORT, wire.PORT, 8 + len(payload), 0) + payload
    if ipv6:
        address = lambda node: struct.pack(">8H", 0xFD00, 0x77, 0, 1, 0, 0, 0, node)
        ip = struct.pack(">IHBB", 6 << 28, len(udp), 17, 61) + address(PEER) + address(US)
    else:
        address = lambda node: struct.pack(">BBH", 10, 77, node)
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 61, 17, 0)
        ip += address(PEER) + address(US)
        ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    mac = lambda node: struct.pack(">HHH", 0x02BE, 0xA700, node)
    tags = b"".join(struct.pack(">HH", kind, tag) for kind, tag in vlans)
    return mac(US) + mac(PEER) + tags + (b"\x86\xdd" if ipv6 else b"\x08\x00") + ip + udp


def made(what, sequence, *asks):
    """A frame that the target makes, with nothing changed in it."""
    entries = b"".join(wire.ENTRY.pack(*ask) for ask in asks)
    return bytes([what | len(asks) << 4, sequence, 0]) + entries + bytes(4 * 3)


def arp(vip):
    mac = struct.pack(">HHH", 0x02BE, 0xA700, PEER)
    request = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + mac + bytes([10, 77, 0, 2]) + bytes(6) + bytes(vip)
    return b"\xff" * 6 + mac + b"\x08\x06" + request


ASKS = [entry(operation) for operation in (PREPARE, ACCEPT, RENEW, RELEASE)]
PROBE, ASKING = heartbeat(wire.PROBE), heartbeat(wire.PROBE, ASKS)
SEEDS = {
    "wire": {
        "probe": PROBE,
        "reply": heartbeat(wire.REPLY, ASKS[:1]),
        "full": heartbeat(wire.PROBE, 2 * ASKS),
        "cut": ASKING[:-20],
    },
    "receive": {
        "probes": made(SEALED, 9) + made(SEALED, 10) + made(SEALED, 9),
        "replies": made(SEALED | REPLY, 9) + made(SEALED | REPLY | IPV6, 9),
        "votes": b"".join(made(SEALED, 9 + at, ask) for at, ask in enumerate(ASKS)),
        "contended": made(SEALED, 9, *ASKS[:2]) + made(SEALED, 10, entry(PREPARE, ballot=9 << 16 | 3)),
        "many": made(SEALED | IPV6, 9, *(entry(ACCEPT, group) for group in range(8))),
        "ipv4": bytes([RAW]) + frame(PROBE),
        "ipv6": bytes([RAW | SEALED]) + frame(ASKING, ipv6=True),
        "tagged": bytes([RAW | SEALED]) + frame(ASKING, [(0x88A8, 5), (0x8100, 6)]),
        "arp": bytes([RAW]) + arp([10, 77, 0, 100]),
        "padded": bytes([RAW | SEALED]) + frame(PROBE) + bytes(10),
    },
    "peering": {
        # A head's kind, cluster, source and destination, three bytes of an offset, a change there;
        # the sealed content.
        "request": bytes([0, 1, 2, 3, 0, 0, 0, 0]) + b'{"command":"status"}',
        "flipped": bytes([0, 1, 2, 3, 0, 0, 9, 1]) + b'{"command":"reload"}',
        # Unsealed messages: a hello, then a request.
        "hello": b"HRTP\x01\0\0\0" + bytes(16) + struct.pack(">BBHIHHI", 1, 9, 0, 1, 2, 3, 2) + bytes(16) + b"{}",
    },
}

for target, seeds in SEEDS.items():
    directory = FUZZ / "seeds" / target
    directory.mkdir(exist_ok=True)
    for name, content in seeds.items():
        (directory / name).write_bytes(content)
