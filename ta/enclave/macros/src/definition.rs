//! A trait taken apart: its methods with number, arguments and result.

use std::collections::BTreeMap;

use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, ItemTrait, LitInt, Pat, PathArguments, Result,
    ReturnType, TraitItem, TraitItemFn, Type,
};

/// Commands are below this number; the rest is the SDK's.
const NUMBERS: u32 = 1 << 31;

/// A method of an interface.
pub(crate) struct Method {
    pub(crate) number: u32,
    pub(crate) name: Ident,
    pub(crate) documentation: Vec<Attribute>,
    pub(crate) is_async: bool,
    pub(crate) arguments: Vec<(Ident, Type)>,
    /// `T` of `Result<T, _>`.
    pub(crate) result: Type,
}

/// Takes the methods of a trait, and their `#[command]` attributes out of it.
pub(crate) fn methods(item: &mut ItemTrait) -> Result<Vec<Method>> {
    if !item.generics.params.is_empty() || !item.supertraits.is_empty() {
        return Err(Error::new(item.ident.span(), "an interface has neither generics nor supertraits"));
    }
    let mut numbers = BTreeMap::new();
    let mut methods = Vec::new();
    for item in &mut item.items {
        let TraitItem::Fn(function) = item else {
            return Err(Error::new(item.span(), "an interface has methods only"));
        };
        let method = method(function)?;
        if let Some(other) = numbers.insert(method.number, method.name.to_string()) {
            let message = format!("command {} is {other} already", method.number);
            return Err(Error::new(method.name.span(), message));
        }
        methods.push(method);
    }
    Ok(methods)
}

fn method(function: &mut TraitItemFn) -> Result<Method> {
    let number = take_number(function)?;
    let signature = &function.sig;
    if !signature.generics.params.is_empty() {
        return Err(Error::new(
            signature.generics.span(),
            "a command has no generics; arguments may be `&str`",
        ));
    }
    if let Some(body) = &function.default {
        return Err(Error::new(body.span(), "a command has no body here; the enclave implements it"));
    }
    let mut inputs = signature.inputs.iter();
    match inputs.next() {
        Some(FnArg::Receiver(this)) if this.reference.is_some() && this.mutability.is_some() => {}
        _ => return Err(Error::new(signature.ident.span(), "a command takes `&mut self` first")),
    }
    let documentation = function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
    Ok(Method {
        number,
        name: signature.ident.clone(),
        documentation: documentation.cloned().collect(),
        is_async: signature.asyncness.is_some(),
        arguments: inputs.map(argument).collect::<Result<_>>()?,
        result: result(&signature.output, &signature.ident)?,
    })
}

fn take_number(function: &mut TraitItemFn) -> Result<u32> {
    let Some(at) = function.attrs.iter().position(|attribute| attribute.path().is_ident("command")) else {
        return Err(Error::new(function.sig.ident.span(), "a command has a number: `#[command(1)]`"));
    };
    let literal: LitInt = function.attrs.remove(at).parse_args()?;
    match literal.base10_parse::<u32>() {
        Ok(number) if (1..NUMBERS).contains(&number) => Ok(number),
        _ => Err(Error::new(literal.span(), format!("commands are numbered 1 to {}", NUMBERS - 1))),
    }
}

fn argument(input: &FnArg) -> Result<(Ident, Type)> {
    match input {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(name) => Ok((name.ident.clone(), (*typed.ty).clone())),
            other => Err(Error::new(other.span(), "an argument has a name")),
        },
        FnArg::Receiver(this) => Err(Error::new(this.span(), "`self` comes first")),
    }
}

fn result(output: &ReturnType, name: &Ident) -> Result<Type> {
    let wrong = || {
        Error::new(
            name.span(),
            "a command returns `Result<_, EnclaveError>`, a host call `Result<_, Refused>`",
        )
    };
    let ReturnType::Type(_, ty) = output else { return Err(wrong()) };
    let Type::Path(path) = &**ty else { return Err(wrong()) };
    let last = path.path.segments.last().filter(|segment| segment.ident == "Result").ok_or_else(wrong)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Err(wrong()) };
    match arguments.args.first() {
        Some(GenericArgument::Type(ty)) if arguments.args.len() == 2 => Ok(ty.clone()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(body: &str) -> std::result::Result<Vec<Method>, String> {
        let mut item: ItemTrait = syn::parse_str(body).map_err(|error| error.to_string())?;
        methods(&mut item).map_err(|error| error.to_string())
    }

    #[test]
    fn a_method_is_taken_apart() {
        let methods = taken(
            "trait A { /** Says. */ #[command(7)] async fn say(&mut self, host: &Host, text: &str) -> Result<u8, E>; }",
        );
        let method = &methods.unwrap()[0];
        assert_eq!((method.number, method.is_async, method.arguments.len()), (7, true, 2));
        assert_eq!((method.name.to_string().as_str(), method.documentation.len()), ("say", 1));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("trait A<T> { }", "neither generics nor supertraits"),
            ("trait A: Clone { }", "neither generics nor supertraits"),
            ("trait A { const N: u32; }", "methods only"),
            ("trait A { fn a(&mut self) -> Result<u8, E>; }", "has a number"),
            ("trait A { #[command(0)] fn a(&mut self) -> Result<u8, E>; }", "numbered 1 to 2147483647"),
            (
                "trait A { #[command(2147483648)] fn a(&mut self) -> Result<u8, E>; }",
                "numbered 1 to 2147483647",
            ),
            ("trait A { #[command(1)] fn a(&self) -> Result<u8, E>; }", "`&mut self` first"),
            ("trait A { #[command(1)] fn a() -> Result<u8, E>; }", "`&mut self` first"),
            ("trait A { #[command(1)] fn a<T>(&mut self) -> Result<u8, E>; }", "no generics"),
            ("trait A { #[command(1)] fn a(&mut self) -> Result<u8, E> { Ok(1) } }", "no body"),
            ("trait A { #[command(1)] fn a(&mut self) -> u8; }", "returns `Result<_, EnclaveError>`"),
            ("trait A { #[command(1)] fn a(&mut self); }", "returns `Result<_, EnclaveError>`"),
            (
                "trait A { #[command(1)] fn a(&mut self) -> Result<u8, E>; #[command(1)] fn b(&mut self) -> Result<u8, E>; }",
                "command 1 is a already",
            ),
        ];
        for (body, word) in cases {
            let error = taken(body).err().unwrap_or_default();
            assert!(error.contains(word), "{body}: {error:?}");
        }
    }
}
