//! Runs commands of a service, and keeps the one that waits for its host.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use crate::message::{Answer, FRAME, MAX_MESSAGE, Question, RESUME, Reply, decode, encode};
use crate::{EnclaveError, HostLink, Refused};

/// What `#[interface]` makes of a trait: commands of a `S` by number. Nobody implements it by hand.
pub trait Service<S> {
    /// Bytes of a request at most.
    const MAX_REQUEST: usize = MAX_MESSAGE;
    /// Bytes of a reply at most.
    const MAX_REPLY: usize = MAX_MESSAGE;

    /// Carries out a command.
    fn dispatch(
        service: &mut S,
        command: u32,
        request: &[u8],
        host: &HostLink,
    ) -> impl Future<Output = Result<Vec<u8>, EnclaveError>>;
}

type Outcome<S> = (Box<S>, Result<Vec<u8>, EnclaveError>);

enum State<S> {
    Idle(Box<S>),
    Waiting(Pin<Box<dyn Future<Output = Outcome<S>>>>, u32),
    /// The service went down with a command that waited for something that is not the host.
    Lost,
}

/// A service of the interface `I`, one command at a time.
pub struct Runner<I, S> {
    state: State<S>,
    host: HostLink,
    asked: u32,
    interface: PhantomData<I>,
}

impl<I: Service<S> + 'static, S: 'static> Runner<I, S> {
    /// One for this service.
    pub fn new(service: S) -> Self {
        let host = HostLink::new(I::MAX_REPLY - FRAME);
        Self { state: State::Idle(Box::new(service)), host, asked: 0, interface: PhantomData }
    }

    /// Carries out a command, or goes on with the one that waits. The reply has at most `I::MAX_REPLY` bytes.
    pub fn call(&mut self, command: u32, request: &[u8]) -> Result<Vec<u8>, EnclaveError> {
        if request.len() > I::MAX_REQUEST {
            return Err(EnclaveError::REQUEST_TOO_LONG);
        }
        match core::mem::replace(&mut self.state, State::Lost) {
            State::Idle(service) if command != RESUME => {
                self.host.clear();
                let call = start::<I, S>(service, command, request.to_vec(), self.host.clone());
                self.go_on(Box::pin(call))
            }
            State::Waiting(call, number) if command == RESUME => self.resume(call, number, request),
            state => {
                let error = match &state {
                    State::Idle(_) => EnclaveError::NOT_WAITING,
                    State::Waiting(..) => EnclaveError::WAITING,
                    State::Lost => EnclaveError::LOST,
                };
                self.state = state;
                Err(error)
            }
        }
    }

    fn resume(
        &mut self,
        call: Pin<Box<dyn Future<Output = Outcome<S>>>>,
        number: u32,
        request: &[u8],
    ) -> Result<Vec<u8>, EnclaveError> {
        match decode::<Answer<'_>>(request) {
            Ok(answer) if answer.number == number => {
                self.host.answer(answer.result.map(<[u8]>::to_vec).ok_or(Refused));
                self.go_on(call)
            }
            other => {
                self.state = State::Waiting(call, number);
                Err(other.map_or_else(|error| error, |_| EnclaveError::NOT_WAITING))
            }
        }
    }

    fn go_on(
        &mut self,
        mut call: Pin<Box<dyn Future<Output = Outcome<S>>>>,
    ) -> Result<Vec<u8>, EnclaveError> {
        let poll = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready((service, result)) = poll {
            self.state = State::Idle(service);
            return encode(&Reply::Done(&result?), I::MAX_REPLY);
        }
        let (command, request) = self.host.take_question().ok_or(EnclaveError::LOST)?;
        // Nobody answers four thousand million questions in one session and remembers the first one.
        self.asked = self.asked.wrapping_add(1);
        self.state = State::Waiting(call, self.asked);
        encode(&Reply::Ask(Question { number: self.asked, command, request: &request }), I::MAX_REPLY)
    }
}

/// The service goes into the call and comes back out of it.
async fn start<I: Service<S>, S>(
    mut service: Box<S>,
    command: u32,
    request: Vec<u8>,
    host: HostLink,
) -> Outcome<S> {
    let result = I::dispatch(&mut service, command, &request, &host).await;
    (service, result)
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::{host_calls, interface};

    #[host_calls]
    trait Numbers {
        #[command(9)]
        fn number(&mut self, index: u32) -> Result<u64, Refused>;
    }

    #[interface(host = Numbers)]
    trait Adding {
        #[command(1)]
        async fn add(&mut self, host: &NumbersHost, count: u32) -> Result<u64, EnclaveError>;
        #[command(2)]
        fn calls(&mut self) -> Result<u32, EnclaveError>;
        #[command(3)]
        async fn stuck(&mut self, host: &NumbersHost) -> Result<(), EnclaveError>;
    }

    #[derive(Default)]
    struct Adder(u32);

    impl Adding for Adder {
        async fn add(&mut self, host: &NumbersHost, count: u32) -> Result<u64, EnclaveError> {
            let mut sum = 0;
            for index in 0..count {
                sum += host.number(index).await?;
            }
            self.0 += 1;
            Ok(sum)
        }

        fn calls(&mut self) -> Result<u32, EnclaveError> {
            Ok(self.0)
        }

        async fn stuck(&mut self, _: &NumbersHost) -> Result<(), EnclaveError> {
            core::future::pending().await
        }
    }

    fn adder() -> Runner<AddingService, Adder> {
        Runner::new(Adder::default())
    }

    fn question(reply: &[u8]) -> Question<'_> {
        match decode(reply) {
            Ok(Reply::Ask(question)) => question,
            _ => panic!("no question in {reply:?}"),
        }
    }

    fn answer(number: u32, result: Option<&[u8]>) -> Vec<u8> {
        encode(&Answer { number, result }, MAX_MESSAGE).unwrap()
    }

    #[test]
    fn a_command_goes_on_where_it_stopped() {
        let mut runner = adder();
        let first = runner.call(1, &[2]).unwrap();
        assert_eq!(
            (question(&first).number, question(&first).command, question(&first).request),
            (1, 9, &[0][..])
        );
        let second = runner.call(RESUME, &answer(1, Some(&[30]))).unwrap();
        assert_eq!((question(&second).number, question(&second).request), (2, &[1][..]));
        let done = runner.call(RESUME, &answer(2, Some(&[12]))).unwrap();
        assert!(matches!(decode(&done), Ok(Reply::Done(&[42]))));
        assert!(matches!(decode(&runner.call(2, &[]).unwrap()), Ok(Reply::Done(&[1]))));
    }

    #[test]
    fn only_the_answer_that_is_waited_for_is_taken() {
        let mut runner = adder();
        assert_eq!(runner.call(RESUME, &answer(1, Some(&[1]))), Err(EnclaveError::NOT_WAITING));
        runner.call(1, &[2]).unwrap();
        assert_eq!(runner.call(2, &[]), Err(EnclaveError::WAITING));
        assert_eq!(runner.call(RESUME, &answer(2, Some(&[1]))), Err(EnclaveError::NOT_WAITING));
        assert_eq!(runner.call(RESUME, &[0xff; 9]), Err(EnclaveError::BAD_REQUEST));
        runner.call(RESUME, &answer(1, Some(&[30]))).unwrap();
        assert_eq!(runner.call(RESUME, &answer(1, Some(&[30]))), Err(EnclaveError::NOT_WAITING));
        runner.call(RESUME, &answer(2, Some(&[12]))).unwrap();
    }

    #[test]
    fn refusals_and_nonsense_reach_the_command_and_leave_the_service() {
        for (result, error) in
            [(None, EnclaveError::HOST_REFUSED), (Some(&[0xff][..]), EnclaveError::BAD_ANSWER)]
        {
            let mut runner = adder();
            runner.call(1, &[2]).unwrap();
            assert_eq!(runner.call(RESUME, &answer(1, result)), Err(error));
            assert!(matches!(decode(&runner.call(2, &[]).unwrap()), Ok(Reply::Done(&[0]))));
        }
    }

    #[test]
    fn bad_requests_have_numbers() {
        let mut runner = adder();
        assert_eq!(runner.call(7, &[]), Err(EnclaveError::UNKNOWN_COMMAND));
        assert_eq!(runner.call(1, &[]), Err(EnclaveError::BAD_REQUEST));
        assert_eq!(runner.call(2, &[0]), Err(EnclaveError::BAD_REQUEST));
        assert_eq!(runner.call(2, &vec![0; MAX_MESSAGE + 1]), Err(EnclaveError::REQUEST_TOO_LONG));
    }

    #[test]
    fn a_command_asks_one_thing_at_a_time() {
        let host = HostLink::new(MAX_MESSAGE);
        let mut first = Box::pin(host.ask::<_, u8>(1, &1));
        let mut second = Box::pin(host.ask::<_, u8>(2, &2));
        let context = &mut Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(context).is_pending());
        assert_eq!(second.as_mut().poll(context), Poll::Ready(Err(EnclaveError::WAITING)));
        host.answer(Ok(vec![5]));
        assert_eq!(first.as_mut().poll(context), Poll::Ready(Ok(5)));
    }

    /// Whatever Linux sends, in whatever order: a number comes back, and the service still answers.
    #[test]
    fn any_bytes_in_any_order_leave_the_service_answering() {
        let mut seed = 1_u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut runner = adder();
        for _ in 0..20_000 {
            let command = [1, 2, RESUME, next() as u32][next() as usize % 4];
            let request: Vec<u8> = (0..next() % 6).map(|_| next() as u8 % 5).collect();
            let _ = runner.call(command, &request);
        }
        // However it stands, an answer to the last question, or none, brings it back to where it takes commands.
        while let Err(EnclaveError::WAITING) = runner.call(2, &[]) {
            let _ = runner.call(RESUME, &answer(runner.asked, None));
        }
        assert!(matches!(decode(&runner.call(2, &[]).unwrap()), Ok(Reply::Done(_))));
    }

    #[test]
    fn a_command_that_waits_for_nothing_is_lost_and_says_so() {
        let mut runner = adder();
        assert_eq!(runner.call(3, &[]), Err(EnclaveError::LOST));
        assert_eq!(runner.call(2, &[]), Err(EnclaveError::LOST));
    }
}
