//! Who a caller is: what a channel says of itself, and what a server makes of it (`spec/rpc-core.md` §20,
//! `spec/protocols-baidu.md` §0.6).
//!
//! Owns the trait and its result. When a credential travels is for channels, when it is verified for servers, and where
//! it stands in the bytes for protocols.

use std::sync::Arc;

use crate::error::RpcError;
use crate::transport::Endpoint;

/// Bytes of a credential that a channel sends at most.
pub const CREDENTIAL_BYTES_MAX: usize = 64 << 10;

/// Says who a caller is, and decides who is let in. A channel uses the one half, a server the other; both halves often
/// share a secret, so that one type has both (brpc: `Authenticator`).
///
/// A connection is verified once: its first request carries the credential, and those behind it none.
///
/// ```
/// use rpc::{Endpoint, RpcError, auth::{AuthContext, Authenticator}, error::ERPCAUTH};
///
/// struct Password(String);
///
/// impl Authenticator for Password {
///     fn generate_credential(&self) -> Result<Vec<u8>, RpcError> {
///         Ok(self.0.clone().into_bytes())
///     }
///
///     fn verify_credential(&self, credential: &[u8], _: &Endpoint) -> Result<AuthContext, RpcError> {
///         if credential == self.0.as_bytes() {
///             Ok(AuthContext { user: "somebody".into(), ..AuthContext::default() })
///         } else {
///             Err(RpcError::new(ERPCAUTH, "Wrong password"))
///         }
///     }
/// }
/// ```
pub trait Authenticator: Send + Sync + 'static {
    /// What a channel says of itself on a new connection: any bytes, none at all too, at most
    /// [`CREDENTIAL_BYTES_MAX`]. Called for each connection, in the bthread or thread that makes the call, which other
    /// calls of a shared connection wait for.
    ///
    /// *Blocking*: should not.
    ///
    /// # Errors
    /// There is nothing to say: the call fails with [`ERPCAUTH`](crate::error::ERPCAUTH) and this text, and so does the
    /// connection.
    fn generate_credential(&self) -> Result<Vec<u8>, RpcError>;

    /// Who the peer with this credential is, which is empty where a peer has said nothing. Called for the first request
    /// of a connection, before anything of it is looked at.
    ///
    /// *Blocking*: should not.
    ///
    /// # Errors
    /// It is not let in: the text goes to the peer, with [`ERPCAUTH`](crate::error::ERPCAUTH), and the connection is
    /// closed.
    fn verify_credential(&self, credential: &[u8], peer: &Endpoint) -> Result<AuthContext, RpcError>;
}

impl<A: Authenticator + ?Sized> Authenticator for Arc<A> {
    fn generate_credential(&self) -> Result<Vec<u8>, RpcError> {
        (**self).generate_credential()
    }

    fn verify_credential(&self, credential: &[u8], peer: &Endpoint) -> Result<AuthContext, RpcError> {
        (**self).verify_credential(credential, peer)
    }
}

/// Who a peer is, as an [`Authenticator`] has found. This crate looks at none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthContext {
    /// The user.
    pub user: String,
    /// The group that the user belongs to.
    pub group: String,
    /// What the user may be.
    pub roles: String,
    /// Who has started the peer.
    pub starter: String,
    /// The peer is a service, not a person.
    pub is_service: bool,
}
