//! Writes the dispatcher and the client of an interface.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, Ident, ItemTrait, Path, Result, Token};

use crate::definition::{Method, methods};

/// What the attribute says.
#[derive(Default)]
pub(crate) struct Options {
    errors: Option<Path>,
    host: Option<Path>,
    request: Option<Expr>,
    reply: Option<Expr>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match name.to_string().as_str() {
                "errors" => options.errors = Some(input.parse()?),
                "host" => options.host = Some(input.parse()?),
                "request" => options.request = Some(input.parse()?),
                "reply" => options.reply = Some(input.parse()?),
                _ => return Err(Error::new(name.span(), "one of errors, host, request, reply")),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

pub(crate) fn expand(options: &Options, mut item: ItemTrait) -> Result<TokenStream> {
    let methods = methods(&mut item)?;
    for method in &methods {
        match (&options.host, method.is_async, method.arguments.is_empty()) {
            (Some(_), true, false) | (_, false, _) => {}
            (None, true, _) => {
                return Err(Error::new(method.name.span(), "say what it asks: `#[interface(host = …)]`"));
            }
            (Some(_), true, true) => {
                return Err(Error::new(
                    method.name.span(),
                    "an async command takes its host after `&mut self`",
                ));
            }
        }
    }
    let service = service(options, &item, &methods)?;
    let client = client(options, &item, &methods)?;
    Ok(quote! {
        #[allow(async_fn_in_trait, reason = "an enclave has one thread")]
        #item
        #service
        #client
    })
}

fn limit(given: Option<&Expr>) -> TokenStream {
    given.map_or_else(|| quote!(::trustbox_interface::MAX_MESSAGE), ToTokens::to_token_stream)
}

/// A name derived from the last word of a path, in the same module.
fn beside(path: &Path, suffix: &str) -> Result<Path> {
    let mut path = path.clone();
    let last = path.segments.last_mut();
    let last = last.ok_or_else(|| Error::new(proc_macro2::Span::call_site(), "a path has a name"))?;
    last.ident = format_ident!("{}{suffix}", last.ident);
    Ok(path)
}

fn service(options: &Options, item: &ItemTrait, methods: &[Method]) -> Result<TokenStream> {
    let (name, visibility) = (&item.ident, &item.vis);
    let service = format_ident!("{name}Service");
    let documentation = format!("Dispatcher of [`{name}`], for the enclave.");
    let (request, reply) = (limit(options.request.as_ref()), limit(options.reply.as_ref()));
    let host = options.host.as_ref().map(|path| beside(path, "Host")).transpose()?;
    let arms = methods.iter().map(|method| arm(name, host.as_ref(), method));
    Ok(quote! {
        #[doc = #documentation]
        #visibility struct #service;

        impl<S: #name> ::trustbox_interface::Service<S> for #service {
            const MAX_REQUEST: usize = #request;
            const MAX_REPLY: usize = #reply;

            async fn dispatch(
                service: &mut S,
                command: u32,
                request: &[u8],
                host: &::trustbox_interface::HostLink,
            ) -> ::core::result::Result<::trustbox_interface::private::Vec<u8>, ::trustbox_interface::EnclaveError> {
                let _ = (&service, &host);
                match command {
                    #(#arms)*
                    _ => {
                        let _ = request;
                        Err(::trustbox_interface::EnclaveError::UNKNOWN_COMMAND)
                    }
                }
            }
        }
    })
}

fn arm(interface: &Ident, host: Option<&Path>, method: &Method) -> TokenStream {
    let Method { number, name, is_async, arguments, .. } = method;
    let sent = &arguments[usize::from(*is_async)..];
    let (names, types): (Vec<_>, Vec<_>) = sent.iter().map(|(name, ty)| (name, ty)).unzip();
    let call = match (host, is_async) {
        (Some(host), true) => quote!(#interface::#name(service, &#host::new(host), #(#names),*).await?),
        _ => quote!(#interface::#name(service, #(#names),*)?),
    };
    quote! {
        #number => {
            let (#(#names,)*): (#(#types,)*) = ::trustbox_interface::private::decode(request)?;
            let result = #call;
            ::trustbox_interface::private::encode(
                &result,
                <Self as ::trustbox_interface::Service<S>>::MAX_REPLY,
            )
        }
    }
}

fn client(options: &Options, item: &ItemTrait, methods: &[Method]) -> Result<TokenStream> {
    let (name, visibility) = (&item.ident, &item.vis);
    let client = format_ident!("{name}Client");
    let documentation = format!("Typed client of [`{name}`], for the host program.");
    let errors = options
        .errors
        .as_ref()
        .map_or_else(|| quote!(::trustbox_interface::NoErrors), ToTokens::to_token_stream);
    let (request, reply) = (limit(options.request.as_ref()), limit(options.reply.as_ref()));
    let (host_declared, host_bound, host_used) = match &options.host {
        Some(path) => (quote!(, H), quote!(, H: #path), Some(beside(path, "Answers")?)),
        None => (quote!(), quote!(), None),
    };
    let (host_field, host_parameter, host_name) = match &options.host {
        Some(_) => (quote!(, host: H), quote!(, host: H), quote!(, host)),
        None => (quote!(), quote!(), quote!()),
    };
    let calls = methods.iter().map(|method| client_method(&errors, host_used.as_ref(), method));
    Ok(quote! {
        #[doc = #documentation]
        #visibility struct #client<T #host_declared> {
            transport: T
            #host_field
        }

        impl<T: ::trustbox_interface::Transport #host_bound> #client<T #host_declared> {
            const LIMITS: ::trustbox_interface::private::Limits =
                ::trustbox_interface::private::Limits { request: #request, reply: #reply };

            /// A client over an open session.
            #visibility fn new(transport: T #host_parameter) -> Self {
                Self { transport #host_name }
            }

            #(#calls)*
        }
    })
}

fn client_method(errors: &TokenStream, answers: Option<&Path>, method: &Method) -> TokenStream {
    let Method { number, name, documentation, is_async, arguments, result } = method;
    let sent = &arguments[usize::from(*is_async)..];
    let (names, types): (Vec<_>, Vec<_>) = sent.iter().map(|(name, ty)| (name, ty)).unzip();
    let host = match answers {
        Some(answers) => {
            quote!(|command, question, limit| #answers::answer(&mut self.host, command, question, limit))
        }
        None => quote!(::trustbox_interface::private::no_host),
    };
    quote! {
        #(#documentation)*
        ///
        /// # Errors
        ///
        /// Those of the enclave, and of the way to it.
        #[allow(clippy::needless_pass_by_value, dead_code, reason = "the interface says what it takes")]
        pub fn #name(
            &mut self,
            #(#names: #types),*
        ) -> ::core::result::Result<#result, ::trustbox_interface::CallError<#errors, T::Error>> {
            ::trustbox_interface::private::call(
                &mut self.transport,
                &Self::LIMITS,
                #number,
                &(#(&#names,)*),
                #host,
            )
        }
    }
}
