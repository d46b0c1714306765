//! A request's body on its way to its session, for runtimes that read it piece by piece.

mod body;
mod cut;
mod length;
mod pump;
mod reader;

pub(crate) use self::{body::Ingress, pump::Pump};
pub use self::{
    cut::cut_by,
    length::BodyLength,
    reader::{BodyPiece, BodyReader, BoxError},
};
