//! The targets of health checks: addresses, never names, since a resolver that hangs must not count
//! as a service that does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{read::Invalid, types::HttpTarget};

const HTTP_PORT: u16 = 80;

/// `ADDRESS:PORT`.
pub(super) fn socket(text: &str) -> Result<SocketAddr, Invalid> {
    authority(text, None)
}

/// `http://ADDRESS[:PORT][/PATH]`.
pub(super) fn http(text: &str) -> Result<HttpTarget, Invalid> {
    const EXAMPLE: &str = "write it as in \"http://127.0.0.1:8080/healthz\"";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Invalid::new(" is not a URL", EXAMPLE));
    };
    match scheme {
        "http" => {}
        "https" => {
            return Err(Invalid::new(
                " asks for TLS, which health checks do not speak",
                "write http:// and a port without TLS, or let a program (type = \"exec\") check it",
            ));
        }
        _ => return Err(Invalid::new(" is not a URL of HTTP", EXAMPLE)),
    }
    let (host, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    if host.contains('@') {
        return Err(Invalid::new(
            " holds a user",
            "leave out what is before the `@`: a health check does not log in",
        ));
    }
    // The path goes into a request line as it is.
    if !path.starts_with('/') || path.contains('#') || !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Invalid::new(
            " has no usable path",
            "write a path of visible ASCII from `/` on, without `#`; others as %XX",
        ));
    }
    Ok(HttpTarget {
        address: authority(host, Some(HTTP_PORT))?,
        host: host.to_owned(),
        path: path.to_owned(),
    })
}

/// An address and its port, or the port that is meant without.
fn authority(text: &str, default: Option<u16>) -> Result<SocketAddr, Invalid> {
    let example = "write an address and a port, as in \"127.0.0.1:5432\" or \"[::1]:5432\"";
    let (host, port) = match text.parse::<IpAddr>() {
        // An address alone. That of IPv6 needs its brackets where a port may follow.
        Ok(IpAddr::V6(v6)) => {
            let remedy = format!("write it as in \"[{v6}]:{}\"", default.unwrap_or(5432));
            return Err(Invalid::new(" lacks the brackets around IPv6", remedy));
        }
        Ok(IpAddr::V4(_)) => (text, None),
        Err(_) if text.ends_with(']') => (text, None),
        Err(_) => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address = match (bracketed, host) {
        (Some(v6), _) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        (None, "localhost") => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (None, v4) => v4.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    let Some(address) = address else {
        return Err(Invalid::new(
            " does not name an IP address",
            format!("{example}; names are not looked up, for a resolver may hang"),
        ));
    };
    if address.is_unspecified() || address.is_multicast() {
        return Err(Invalid::new(
            " is nobody's address",
            "write the one that the service listens at, as in \"127.0.0.1\"",
        ));
    }
    let port = match port {
        Some(port) => port.parse::<u16>().ok().filter(|port| *port > 0),
        None if default.is_none() => return Err(Invalid::new(" has no port", example)),
        None => default,
    };
    match port {
        Some(port) => Ok(SocketAddr::new(address, port)),
        None => Err(Invalid::new(
            " has no usable port",
            "write one from 1 to 65535",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_a_port_make_a_target() {
        for (text, meant) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("localhost:5432", "127.0.0.1:5432"),
            ("[::1]:9", "[::1]:9"),
            ("10.0.0.1:65535", "10.0.0.1:65535"),
        ] {
            assert_eq!(socket(text).unwrap(), meant.parse().unwrap(), "{text}");
        }
        for bad in [
            "",
            "127.0.0.1",
            "::1",
            "::1:80",
            "[::1]",
            "[::1",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "127.0.0.1:",
            "127.0.0.1:http",
            "db.example.org:5432",
            "0.0.0.0:80",
            "[ff02::1]:80",
            "[10.0.0.1]:80",
        ] {
            assert!(socket(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn url_is_taken_apart() {
        let parts = |text: &str| {
            let target = http(text).unwrap();
            (target.address.to_string(), target.host, target.path)
        };
        let is = |address: &str, host: &str, path: &str| {
            (address.to_owned(), host.to_owned(), path.to_owned())
        };
        assert_eq!(
            parts("http://127.0.0.1:8080/healthz?full=1"),
            is("127.0.0.1:8080", "127.0.0.1:8080", "/healthz?full=1")
        );
        assert_eq!(
            parts("http://localhost"),
            is("127.0.0.1:80", "localhost", "/")
        );
        assert_eq!(parts("http://[::1]/a"), is("[::1]:80", "[::1]", "/a"));
        for bad in [
            "",
            "127.0.0.1/",
            "https://127.0.0.1/",
            "ftp://127.0.0.1/",
            "http://",
            "http:///x",
            "http://a.example.org/",
            "http://user@127.0.0.1/",
            "http://127.0.0.1?x",
            "http://127.0.0.1/a b",
            "http://127.0.0.1/a\r\nX: y",
            "http://127.0.0.1/#top",
            "http://127.0.0.1/é",
            "http://::1/",
        ] {
            assert!(http(bad).is_err(), "{bad}");
        }
    }
}
