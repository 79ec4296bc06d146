//! The attributes of `trustbox-interface`: one trait becomes a dispatcher for one side and a client for the other.
//!
//! Everything that could be wrong in a trait is said here, on the line where it is, rather than in the code that is
//! written from it.

mod definition;
mod host_calls;
mod interface;

use proc_macro::TokenStream;
use syn::{ItemTrait, parse_macro_input};

/// Makes a trait the interface of an enclave.
///
/// Written from a trait `Meter`: `MeterService`, the dispatcher that `trustbox_enclave::enclave!` takes, and
/// `MeterClient`, the host program's typed client over any `trustbox_interface::Transport`.
///
/// Every method has a `#[command(N)]`, with N from 1 to 2³¹ - 1 and never used again for something else, takes `&mut self`
/// and returns `Result<_, EnclaveError>`. An `async fn` may ask the host: its second parameter is `&QHost`, where the
/// interface says `host = Q` and `Q` is a trait with `#[host_calls]`.
///
/// | in the attribute | means |
/// | --- | --- |
/// | `errors = E` | the interface's own errors, an enum made by `errors!` |
/// | `host = Q` | what commands may ask the host program |
/// | `request = N`, `reply = N` | bytes of a message at most; 4096 if not said |
#[proc_macro_attribute]
pub fn interface(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(attribute as interface::Options);
    let item = parse_macro_input!(item as ItemTrait);
    interface::expand(&options, item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a trait what an enclave may ask its host program.
///
/// Written from a trait `Files`: `FilesHost`, through which a command asks, and `FilesAnswers`, which lets a host program
/// that implements `Files` answer. Every method has a `#[command(N)]`, takes `&mut self` and returns
/// `Result<_, Refused>`.
#[proc_macro_attribute]
pub fn host_calls(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemTrait);
    host_calls::expand(attribute.into(), item).unwrap_or_else(syn::Error::into_compile_error).into()
}
