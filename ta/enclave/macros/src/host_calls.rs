//! Writes the enclave's questions and the host program's answers.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Error, ItemTrait, Result};

use crate::definition::{Method, methods};

pub(crate) fn expand(attribute: TokenStream, mut item: ItemTrait) -> Result<TokenStream> {
    if !attribute.is_empty() {
        return Err(Error::new_spanned(attribute, "this attribute takes nothing"));
    }
    let methods = methods(&mut item)?;
    if let Some(method) = methods.iter().find(|method| method.is_async) {
        return Err(Error::new(method.name.span(), "the host program answers at once: no async here"));
    }
    let (host, answers) = (host(&item, &methods), answers(&item, &methods));
    Ok(quote! {
        #item
        #host
        #answers
    })
}

fn host(item: &ItemTrait, methods: &[Method]) -> TokenStream {
    let (name, visibility) = (&item.ident, &item.vis);
    let host = format_ident!("{name}Host");
    let documentation =
        format!("The host program as a [`{name}`], for commands of the enclave. What it says is Linux's.");
    let questions = methods.iter().map(question);
    quote! {
        #[doc = #documentation]
        #visibility struct #host(::trustbox_interface::HostLink);

        impl #host {
            #[doc(hidden)]
            #visibility fn new(link: &::trustbox_interface::HostLink) -> Self {
                Self(link.clone())
            }

            #(#questions)*
        }
    }
}

fn question(method: &Method) -> TokenStream {
    let Method { number, name, documentation, arguments, result, .. } = method;
    let (names, types): (Vec<_>, Vec<_>) = arguments.iter().map(|(name, ty)| (name, ty)).unzip();
    quote! {
        #(#documentation)*
        ///
        /// # Errors
        ///
        /// Where the host program refuses, or its answer is none.
        #[allow(clippy::needless_pass_by_value, dead_code, reason = "the interface says what it takes")]
        pub async fn #name(
            &self,
            #(#names: #types),*
        ) -> ::core::result::Result<#result, ::trustbox_interface::EnclaveError> {
            self.0.ask(#number, &(#(&#names,)*)).await
        }
    }
}

fn answers(item: &ItemTrait, methods: &[Method]) -> TokenStream {
    let (name, visibility) = (&item.ident, &item.vis);
    let answers = format_ident!("{name}Answers");
    let documentation = format!("Answers of a host program that is a [`{name}`].");
    let arms = methods.iter().map(|method| {
        let Method { number, name: call, arguments, .. } = method;
        let (names, types): (Vec<_>, Vec<_>) = arguments.iter().map(|(name, ty)| (name, ty)).unzip();
        quote! {
            #number => ::trustbox_interface::private::answered(
                question,
                limit,
                |(#(#names,)*): (#(#types,)*)| #name::#call(host, #(#names),*),
            ),
        }
    });
    quote! {
        #[doc = #documentation]
        #visibility struct #answers;

        impl #answers {
            #[doc(hidden)]
            #visibility fn answer<H: #name>(
                host: &mut H,
                command: u32,
                question: &[u8],
                limit: usize,
            ) -> ::core::result::Result<::trustbox_interface::private::Vec<u8>, ::trustbox_interface::Refused> {
                match command {
                    #(#arms)*
                    _ => Err(::trustbox_interface::Refused),
                }
            }
        }
    }
}
