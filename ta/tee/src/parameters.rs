//! The four parameters of a GlobalPlatform call, as claims.
//!
//! Memory that somebody else may change at any time is never a slice here (that would be undefined
//! behaviour): a [`Claim`] knows where it is and how long it claims to be, and can only be copied,
//! once and bounded (INV-4). C code does the copying, so no Rust reference ever points there.

use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use optee_utee_sys as sys;
use trustbox_api::Error;

use crate::mapping::Mapping;

/// Which way a parameter goes (TEE Internal Core API 1.3.1, table 4-7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the caller.
    Input,
    /// To the caller.
    Output,
    /// Both ways.
    InOut,
}

/// Memory of the caller's: `room` bytes are mapped, `size` is what the caller is told.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    address: Option<NonNull<c_void>>,
    room: usize,
    size: usize,
    call: PhantomData<&'a Mapping>,
}

/// One of the four.
#[derive(Clone, Copy)]
pub enum Parameter<'a> {
    /// Not used.
    None,
    /// Two numbers.
    Value(Direction, u32, u32),
    /// Memory.
    Memory(Direction, Claim<'a>),
}

/// All four.
pub struct Parameters<'a>(pub [Parameter<'a>; 4]);

impl Direction {
    fn is_out(self) -> bool {
        self != Self::Input
    }
}

impl<'a> Claim<'a> {
    /// No memory.
    pub const EMPTY: Self = Self { address: None, room: 0, size: 0, call: PhantomData };

    /// How many bytes there are to copy.
    pub fn room(&self) -> usize {
        self.room
    }

    /// How many bytes came out, as the callee says.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Copies all of it to the front of `to`; `Error::TooLarge` where it is longer.
    pub fn copy_in<'b>(&self, to: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let to = to.get_mut(..self.room).ok_or(Error::TooLarge)?;
        if let Some(address) = self.address {
            // SAFETY: `to` is private, writable and `room` long. OP-TEE mapped as many bytes at
            // `address` for the length of this call, which `'a` stands for, outside private memory, so the
            // two do not overlap. They may change meanwhile; the copy is made by C code that the compiler
            // cannot see into, so Rust assumes nothing about what it reads.
            unsafe { sys::TEE_MemMove(to.as_mut_ptr().cast(), address.as_ptr(), to.len()) };
        }
        Ok(to)
    }

    /// Copies `from` out, once, and sets the size; `Error::ShortBuffer` where it does not fit.
    pub fn copy_out(&mut self, from: &[u8]) -> Result<(), Error> {
        self.size = from.len();
        if self.room < from.len() {
            return Err(Error::ShortBuffer);
        }
        if let Some(address) = self.address {
            // SAFETY: OP-TEE mapped `room` writable bytes at `address` for the length of this call, no fewer than
            // are copied, and `from` is private memory. Nothing in Rust refers to the mapped bytes.
            unsafe { sys::TEE_MemMove(address.as_ptr(), from.as_ptr().cast(), from.len()) };
        }
        Ok(())
    }

    /// Tells the caller that nothing came out.
    pub fn clear(&mut self) {
        self.size = 0;
    }

    fn of(memref: sys::Memref) -> Self {
        let address = NonNull::new(memref.buffer).filter(|_| memref.size != 0);
        let room = if address.is_some() { memref.size } else { 0 };
        Self { address, room, size: memref.size, call: PhantomData }
    }

    fn is_null_with_size(&self) -> bool {
        self.address.is_none() && self.size != 0
    }

    fn memref(self) -> sys::Memref {
        sys::Memref { buffer: self.address.map_or(ptr::null_mut(), NonNull::as_ptr), size: self.size }
    }

    fn overlaps(&self, other: &Self) -> bool {
        let range = |claim: &Self| claim.address.map(|start| (start.as_ptr().addr(), claim.room));
        match (range(self), range(other)) {
            (Some((one, one_size)), Some((two, two_size))) => {
                one < two.saturating_add(two_size) && two < one.saturating_add(one_size)
            }
            _ => false,
        }
    }
}

impl<'a> Parameter<'a> {
    /// A mapping for somebody else to read.
    pub fn input(mapping: &'a Mapping) -> Self {
        Self::Memory(Direction::Input, Self::over(mapping))
    }

    /// A mapping for somebody else to write.
    pub fn output(mapping: &'a mut Mapping) -> Self {
        Self::Memory(Direction::Output, Self::over(mapping))
    }

    /// The claim, where it is memory.
    pub fn claim(&self) -> Option<Claim<'a>> {
        if let Self::Memory(_, claim) = self { Some(*claim) } else { None }
    }

    fn over(mapping: &Mapping) -> Claim<'a> {
        let (address, size) = mapping.raw_parts();
        Claim { address: Some(address), room: size, size, call: PhantomData }
    }

    fn read(kind: u32, raw: &sys::TEE_Param) -> Result<Self, Error> {
        let (memory, direction) = match kind {
            sys::TEE_PARAM_TYPE_NONE => return Ok(Self::None),
            sys::TEE_PARAM_TYPE_VALUE_INPUT => (false, Direction::Input),
            sys::TEE_PARAM_TYPE_VALUE_OUTPUT => (false, Direction::Output),
            sys::TEE_PARAM_TYPE_VALUE_INOUT => (false, Direction::InOut),
            sys::TEE_PARAM_TYPE_MEMREF_INPUT => (true, Direction::Input),
            sys::TEE_PARAM_TYPE_MEMREF_OUTPUT => (true, Direction::Output),
            sys::TEE_PARAM_TYPE_MEMREF_INOUT => (true, Direction::InOut),
            _ => return Err(Error::BadParameters),
        };
        if memory {
            // SAFETY: for these three kinds libutee filled the member `memref` (user_ta_entry.c, from_utee_params).
            Ok(Self::Memory(direction, Claim::of(unsafe { raw.memref })))
        } else {
            // SAFETY: for these three kinds libutee filled the member `value` (ibidem).
            let sys::Value { a, b } = unsafe { raw.value };
            Ok(Self::Value(direction, a, b))
        }
    }

    fn raw(&self) -> (u32, sys::TEE_Param) {
        match *self {
            Self::None => (sys::TEE_PARAM_TYPE_NONE, NOTHING),
            Self::Value(direction, a, b) => {
                (1 + direction as u32, sys::TEE_Param { value: sys::Value { a, b } })
            }
            Self::Memory(direction, claim) => {
                (5 + direction as u32, sys::TEE_Param { memref: claim.memref() })
            }
        }
    }
}

const NOTHING: sys::TEE_Param = sys::TEE_Param { memref: sys::Memref { buffer: ptr::null_mut(), size: 0 } };

impl<'a> Parameters<'a> {
    /// No parameters.
    pub const NONE: Self = Self([Parameter::None; 4]);

    /// From what OP-TEE handed an entry point: known kinds only, no null pointer with a size.
    pub fn read(types: u32, raw: &[sys::TEE_Param; 4]) -> Result<Self, Error> {
        let mut parameters = Self::NONE;
        for (index, (parameter, raw)) in parameters.0.iter_mut().zip(raw).enumerate() {
            *parameter = Parameter::read(types >> (4 * index) & 0xf, raw)?;
            if matches!(parameter, Parameter::Memory(_, claim) if claim.is_null_with_size()) {
                return Err(Error::BadParameters);
            }
        }
        if types >> 16 == 0 { Ok(parameters) } else { Err(Error::BadParameters) }
    }

    /// For OP-TEE.
    pub fn raw(&self) -> (u32, [sys::TEE_Param; 4]) {
        let mut types = 0;
        let raw = core::array::from_fn(|index| {
            let (kind, raw) = self.0.get(index).map_or((0, NOTHING), Parameter::raw);
            types |= kind << (4 * index);
            raw
        });
        (types, raw)
    }

    /// Takes over sizes and numbers that OP-TEE brought back from a callee.
    pub(crate) fn take_outputs(&mut self, raw: &[sys::TEE_Param; 4]) {
        for (parameter, raw) in self.0.iter_mut().zip(raw) {
            let answer = Parameter::read(parameter.raw().0, raw);
            match (parameter, answer) {
                (Parameter::Memory(direction, claim), Ok(Parameter::Memory(_, answer)))
                    if direction.is_out() =>
                {
                    claim.size = answer.size;
                }
                (Parameter::Value(direction, a, b), Ok(Parameter::Value(_, new_a, new_b)))
                    if direction.is_out() =>
                {
                    (*a, *b) = (new_a, new_b);
                }
                _ => {}
            }
        }
    }

    /// The three parameters after the first, as an enclave gets them from the TrustBox TA.
    pub fn for_enclave(&self) -> Self {
        let [_, first, second, third] = self.0;
        Self([first, second, third, Parameter::None])
    }

    /// Takes back what an enclave answered in [`Parameters::for_enclave`].
    pub fn answer(&mut self, from_enclave: &Self) {
        let [first, second, third, _] = from_enclave.0;
        let [_, rest @ ..] = &mut self.0;
        *rest = [first, second, third];
    }

    /// Copies a reply out to parameter `index`; an error other than a short buffer leaves it empty.
    pub fn reply(&mut self, index: usize, reply: Result<&[u8], Error>) -> Result<(), Error> {
        let Some(Parameter::Memory(_, claim)) = self.0.get_mut(index) else {
            return Err(Error::BadParameters);
        };
        claim.clear();
        claim.copy_out(reply?)
    }

    /// Whether memory to be written overlaps memory to be read only: libutee panics a TA that passes this on.
    pub fn outputs_overlap_inputs(&self) -> bool {
        let claims = |input: bool| {
            self.0.iter().filter_map(move |parameter| match parameter {
                Parameter::Memory(direction, claim) if direction.is_out() != input => Some(claim),
                _ => None,
            })
        };
        claims(true).any(|input| claims(false).any(|output| input.overlaps(output)))
    }
}
