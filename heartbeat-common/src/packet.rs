//! Bounds-checked access to a packet, the same for a kernel context and for a byte slice.

/// An unsigned integer as it stands in a packet, in network byte order.
pub trait Word: Copy {
    fn from_be(self) -> Self;
    fn to_be(self) -> Self;
}

macro_rules! words {
    ($($int:ty),*) => {$(
        impl Word for $int {
            #[inline(always)]
            fn from_be(self) -> Self {
                <$int>::from_be(self)
            }
            #[inline(always)]
            fn to_be(self) -> Self {
                <$int>::to_be(self)
            }
        }
    )*};
}
words!(u8, u16, u32, u64);

/// A frame from its Ethernet header on.
///
/// Implementations check every access against the end of the frame; `None` is "not that long".
pub trait Packet {
    fn read<T: Word>(&self, at: usize) -> Option<T>
    where
        T: bytemuck::Pod;

    fn write<T: Word>(&mut self, at: usize, value: T) -> Option<()>
    where
        T: bytemuck::Pod;
}

/// A frame in userspace memory.
#[derive(Debug)]
pub struct SlicePacket<'a>(pub &'a mut [u8]);

impl Packet for SlicePacket<'_> {
    fn read<T: Word + bytemuck::Pod>(&self, at: usize) -> Option<T> {
        let end = at.checked_add(size_of::<T>())?;
        Some(bytemuck::pod_read_unaligned::<T>(self.0.get(at..end)?).from_be())
    }

    fn write<T: Word + bytemuck::Pod>(&mut self, at: usize, value: T) -> Option<()> {
        let end = at.checked_add(size_of::<T>())?;
        self.0.get_mut(at..end)?.copy_from_slice(bytemuck::bytes_of(&value.to_be()));
        Some(())
    }
}
