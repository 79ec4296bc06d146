//! The session on a host without libteec: there never is one.

use std::convert::Infallible;

use trustbox_api::Command;

use crate::{Error, Result};

/// `TEEC_ERROR_ITEM_NOT_FOUND`, as libteec answers where there is no driver.
const ITEM_NOT_FOUND: u32 = 0xffff_0008;

/// An open session, of which there are none.
pub(crate) struct Link(Infallible);

impl Link {
    pub(crate) fn open() -> Result<Self> {
        Err(Error::NoTee { code: ITEM_NOT_FOUND })
    }

    pub(crate) fn message(&mut self, _: Command, _: &[u8], _: &mut [u8]) -> Result<usize> {
        match self.0 {}
    }

    pub(crate) fn message_with_data(&mut self, _: Command, _: &[u8], _: &[u8]) -> Result<()> {
        match self.0 {}
    }

    pub(crate) fn forward(&mut self, _: (u32, u32), _: &[u8], _: &mut [u8]) -> Result<usize> {
        match self.0 {}
    }
}
