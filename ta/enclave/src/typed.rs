//! An enclave of an interface: its commands come as calls of a trait.

use trustbox_interface::{Runner, Service};

use crate::{Enclave, EnclaveError, Launched, Reply};

/// What an enclave of an interface does first.
pub trait Launch: Sized {
    /// Starts it.
    fn launch(launched: Launched) -> Result<Self, EnclaveError>;
}

/// An [`Enclave`] made of an interface `I` and the type `S` that implements it.
pub struct Typed<I, S>(Runner<I, S>);

impl<I: Service<S> + 'static, S: Launch + 'static> Enclave for Typed<I, S> {
    const MAX_REQUEST: usize = I::MAX_REQUEST;
    const MAX_REPLY: usize = I::MAX_REPLY;

    fn launch(launched: Launched) -> Result<Self, EnclaveError> {
        S::launch(launched).map(Runner::new).map(Self)
    }

    fn call(&mut self, command: u32, request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
        reply.write(&self.0.call(command, request)?)
    }
}
