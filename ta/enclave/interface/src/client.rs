//! The host program's side: what every generated client does.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message::{Answer, Question, RESUME, Reply, decode, encode};
use crate::runner::{Runner, Service};
use crate::{EnclaveError, Numbers, Refused};

/// What carries calls to an enclave: `trustbox_client::EnclaveSession` on a device, [`Local`] in tests.
pub trait Transport {
    /// How it fails.
    type Error;

    /// Calls a command, with room for `capacity` bytes of reply.
    fn call(&mut self, command: u32, request: &[u8], capacity: usize) -> Result<Vec<u8>, Self::Error>;

    /// The `TEE_Result` where the enclave itself refused, rather than something on the way to it.
    fn refusal(error: &Self::Error) -> Option<u32>;
}

impl<T: Transport> Transport for &mut T {
    type Error = T::Error;

    fn call(&mut self, command: u32, request: &[u8], capacity: usize) -> Result<Vec<u8>, T::Error> {
        (**self).call(command, request, capacity)
    }

    fn refusal(error: &T::Error) -> Option<u32> {
        T::refusal(error)
    }
}

/// Why a call failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallError<N, E> {
    /// The enclave refused, for a reason of its interface.
    Own(N),
    /// The enclave's SDK refused, or the enclave has a number that its interface does not name.
    Enclave(EnclaveError),
    /// The call did not arrive, or its answer did not.
    Transport(E),
    /// The arguments are longer than the interface allows.
    RequestTooLong,
    /// The reply does not decode: host program and enclave were built from different interfaces.
    BadReply,
}

impl<N: Copy, E> CallError<N, E> {
    /// The reason of the interface, where it is one.
    pub fn own(&self) -> Option<N> {
        if let Self::Own(own) = self { Some(*own) } else { None }
    }

    /// The SDK's reason, where it is one.
    pub fn sdk(&self) -> Option<EnclaveError> {
        if let Self::Enclave(error) = self { Some(*error) } else { None }
    }
}

impl<N: Numbers + fmt::Display, E: fmt::Display> fmt::Display for CallError<N, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(own) => write!(f, "the enclave refused: {own} ({})", own.number()),
            Self::Enclave(error) => write!(f, "the enclave refused: {error}"),
            Self::Transport(error) => error.fmt(f),
            Self::RequestTooLong => f.write_str("the arguments are longer than the interface allows"),
            Self::BadReply => f.write_str(
                "the reply does not decode\nhelp: build the host program and the enclave from the same interface",
            ),
        }
    }
}

impl<N, E> core::error::Error for CallError<N, E>
where
    N: Numbers + fmt::Debug + fmt::Display,
    E: fmt::Debug + fmt::Display,
{
}

/// Bytes of a request and of a reply at most.
pub struct Limits {
    /// Of a request.
    pub request: usize,
    /// Of a reply.
    pub reply: usize,
}

/// Answers of a host program that is not asked anything.
pub fn no_host(_: u32, _: &[u8], _: usize) -> Result<Vec<u8>, Refused> {
    Err(Refused)
}

/// One command from its arguments to its result; `host` answers what the enclave asks meanwhile.
pub fn call<T: Transport, Q: Serialize, A: DeserializeOwned, N: Numbers>(
    transport: &mut T,
    limits: &Limits,
    command: u32,
    arguments: &Q,
    mut host: impl FnMut(u32, &[u8], usize) -> Result<Vec<u8>, Refused>,
) -> Result<A, CallError<N, T::Error>> {
    let request = encode(arguments, limits.request).map_err(|_| CallError::RequestTooLong)?;
    let mut reply = transport.call(command, &request, limits.reply).map_err(named::<T, N>)?;
    loop {
        let Question { number, command, request } = match decode(&reply).map_err(|_| CallError::BadReply)? {
            Reply::Done(result) => return decode(result).map_err(|_| CallError::BadReply),
            Reply::Ask(question) => question,
        };
        let answer = host(command, request, limits.request.saturating_sub(crate::message::FRAME)).ok();
        let answer = Answer { number, result: answer.as_deref() };
        let answer = encode(&answer, limits.request).map_err(|_| CallError::RequestTooLong)?;
        reply = transport.call(RESUME, &answer, limits.reply).map_err(named::<T, N>)?;
    }
}

fn named<T: Transport, N: Numbers>(error: T::Error) -> CallError<N, T::Error> {
    match T::refusal(&error).and_then(EnclaveError::from_code) {
        Some(refusal) => match N::of(refusal.number()) {
            Some(own) => CallError::Own(own),
            None => CallError::Enclave(refusal),
        },
        None => CallError::Transport(error),
    }
}

/// A service in the same program: for tests of interfaces.
pub struct Local<I, S>(Runner<I, S>, PhantomData<I>);

/// A transport that calls `service` in the same program.
pub fn local<I: Service<S> + 'static, S: 'static>(service: S) -> Local<I, S> {
    Local(Runner::new(service), PhantomData)
}

impl<I: Service<S> + 'static, S: 'static> Transport for Local<I, S> {
    type Error = EnclaveError;

    fn call(&mut self, command: u32, request: &[u8], capacity: usize) -> Result<Vec<u8>, EnclaveError> {
        let reply = self.0.call(command, request)?;
        if reply.len() > capacity { Err(EnclaveError::REPLY_TOO_LONG) } else { Ok(reply) }
    }

    fn refusal(error: &EnclaveError) -> Option<u32> {
        Some(error.code())
    }
}
