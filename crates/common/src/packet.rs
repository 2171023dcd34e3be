//! Bounds-checked access to a packet, with the same code for a kernel context and for a byte slice.

/// An unsigned integer that packets contain in network byte order.
pub trait Word: bytemuck::Pod {
    /// Converts between network and host order. The conversion is its own inverse.
    fn swap_order(self) -> Self;
}

macro_rules! words {
    ($($int:ty),*) => {$(
        impl Word for $int {
            #[inline(always)]
            fn swap_order(self) -> Self {
                self.to_be()
            }
        }
    )*};
}
words!(u8, u16, u32, u64);

/// A frame from its Ethernet header on.
///
/// Implementations check every access against the end of the frame; `None` means that the frame is
/// shorter.
pub trait Packet {
    fn read<T: Word>(&self, at: usize) -> Option<T>;

    fn write<T: Word>(&mut self, at: usize, value: T) -> Option<()>;
}

/// A frame in userspace memory.
#[derive(Debug)]
pub struct SlicePacket<'a>(pub &'a mut [u8]);

impl Packet for SlicePacket<'_> {
    fn read<T: Word>(&self, at: usize) -> Option<T> {
        let end = at.checked_add(size_of::<T>())?;
        Some(bytemuck::pod_read_unaligned::<T>(self.0.get(at..end)?).swap_order())
    }

    fn write<T: Word>(&mut self, at: usize, value: T) -> Option<()> {
        let end = at.checked_add(size_of::<T>())?;
        self.0
            .get_mut(at..end)?
            .copy_from_slice(bytemuck::bytes_of(&value.swap_order()));
        Some(())
    }
}
