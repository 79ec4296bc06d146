//! What `trustbox-keys` does besides signing statements: the ceremony, the service, and its clients.

pub(crate) mod ceremony;
pub(crate) mod client;
pub(crate) mod factory;
pub(crate) mod fuse;
pub(crate) mod page_user;
pub(crate) mod returned;
pub(crate) mod serve;
pub(crate) mod station;
