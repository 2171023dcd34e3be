//! A vector with an index type of its own.

use std::{
    marker::PhantomData,
    ops::{Deref, DerefMut, Index, IndexMut},
};

use serde::{Deserialize, Serialize};

use crate::index::{GroupIndex, Number};

/// A `Vec<T>` that is indexed by `I`. It is serialised as the `Vec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IndexVec<I, T> {
    items: Vec<T>,
    #[serde(skip)]
    index: PhantomData<I>,
}

impl<I, T> IndexVec<I, T> {
    pub const fn new() -> Self {
        Self {
            items: Vec::new(),
            index: PhantomData,
        }
    }
}

impl<I: Number, T> IndexVec<I, T> {
    pub fn into_vec(self) -> Vec<T> {
        self.items
    }

    pub fn push(&mut self, item: T) {
        self.items.push(item);
    }

    /// The index of the item that is pushed next.
    pub fn next_index(&self) -> I {
        I::from_usize(self.items.len())
    }

    pub fn truncate(&mut self, len: usize) {
        self.items.truncate(len);
    }

    pub fn resize_with(&mut self, len: usize, item: impl FnMut() -> T) {
        self.items.resize_with(len, item);
    }

    pub fn get(&self, index: I) -> Option<&T> {
        self.items.get(index.as_usize())
    }

    pub fn get_mut(&mut self, index: I) -> Option<&mut T> {
        self.items.get_mut(index.as_usize())
    }

    /// The indices of all items.
    pub fn indices(&self) -> impl DoubleEndedIterator<Item = I> + Clone + use<I, T> {
        (0..self.items.len()).map(I::from_usize)
    }

    pub fn iter_enumerated(&self) -> impl DoubleEndedIterator<Item = (I, &T)> {
        let items = self.items.iter().enumerate();
        items.map(|(index, item)| (I::from_usize(index), item))
    }

    pub fn into_iter_enumerated(self) -> impl DoubleEndedIterator<Item = (I, T)> {
        let items = self.items.into_iter().enumerate();
        items.map(|(index, item)| (I::from_usize(index), item))
    }

    pub fn iter_mut_enumerated(&mut self) -> impl DoubleEndedIterator<Item = (I, &mut T)> {
        let items = self.items.iter_mut().enumerate();
        items.map(|(index, item)| (I::from_usize(index), item))
    }

    /// The index of the first item for which `is_it` is true.
    pub fn position(&self, is_it: impl FnMut(&T) -> bool) -> Option<I> {
        self.items.iter().position(is_it).map(I::from_usize)
    }
}

impl<I, T> Default for IndexVec<I, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I, T> From<Vec<T>> for IndexVec<I, T> {
    fn from(items: Vec<T>) -> Self {
        Self {
            items,
            index: PhantomData,
        }
    }
}

impl<I, T, const N: usize> From<[T; N]> for IndexVec<I, T> {
    fn from(items: [T; N]) -> Self {
        Vec::from(items).into()
    }
}

impl<I, T> FromIterator<T> for IndexVec<I, T> {
    fn from_iter<A: IntoIterator<Item = T>>(items: A) -> Self {
        Vec::from_iter(items).into()
    }
}

impl<I, T> Extend<T> for IndexVec<I, T> {
    fn extend<A: IntoIterator<Item = T>>(&mut self, items: A) {
        self.items.extend(items);
    }
}

impl<I, T> IntoIterator for IndexVec<I, T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a, I, T> IntoIterator for &'a IndexVec<I, T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<'a, I, T> IntoIterator for &'a mut IndexVec<I, T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter_mut()
    }
}

impl<I: Number, T> Index<I> for IndexVec<I, T> {
    type Output = T;

    fn index(&self, index: I) -> &T {
        &self.items[index.as_usize()]
    }
}

impl<I: Number, T> IndexMut<I> for IndexVec<I, T> {
    fn index_mut(&mut self, index: I) -> &mut T {
        &mut self.items[index.as_usize()]
    }
}

impl<I, T> AsRef<[T]> for IndexVec<I, T> {
    fn as_ref(&self) -> &[T] {
        &self.items
    }
}

impl<I, T> Deref for IndexVec<I, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<I, T> DerefMut for IndexVec<I, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

/// One item for each group, in the order of [`crate::placement::Layout::groups`].
pub type ByGroup<T> = IndexVec<GroupIndex, T>;
