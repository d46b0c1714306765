//! Why a body was cut short, by the error of its reader.

use std::{
    error::Error,
    io::{Error as IoError, ErrorKind},
};

use tus_proto::Cut;

/// Why a body was cut short, by the kind of the I/O error in the error's chain of causes:
///
/// | kind | means |
/// |---|---|
/// | `TimedOut`, `WouldBlock` | its client is too slow |
/// | `InvalidData`, `InvalidInput` | its framing is broken |
/// | any other, or none | its client has closed its side; it may still read a response, so one is sent |
pub fn cut_by(error: &(dyn Error + 'static)) -> Cut {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<IoError>().map(IoError::kind) {
            Some(ErrorKind::InvalidData | ErrorKind::InvalidInput) => return Cut::BadFraming,
            Some(ErrorKind::TimedOut | ErrorKind::WouldBlock) => return Cut::TooSlow,
            _ => cause = error.source(),
        }
    }
    Cut::HalfClosed
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    /// As a framework wraps an error of its connection.
    #[derive(Debug)]
    struct Wrapped(IoError);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the body failed")
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_io_error_among_the_causes_tells_why() {
        for (kind, cut) in [
            (ErrorKind::TimedOut, Cut::TooSlow),
            (ErrorKind::WouldBlock, Cut::TooSlow),
            (ErrorKind::InvalidData, Cut::BadFraming),
            (ErrorKind::InvalidInput, Cut::BadFraming),
            (ErrorKind::ConnectionReset, Cut::HalfClosed),
            (ErrorKind::UnexpectedEof, Cut::HalfClosed),
        ] {
            assert_eq!(cut_by(&IoError::from(kind)), cut, "{kind:?}");
            assert_eq!(cut_by(&Wrapped(kind.into())), cut, "{kind:?}, wrapped");
        }
        assert_eq!(cut_by(&fmt::Error), Cut::HalfClosed);
    }
}
