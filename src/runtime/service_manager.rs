//! Tells the service manager how the process is: systemd's `sd_notify` for units of
//! `Type=notify`. It is one datagram to the socket that `NOTIFY_SOCKET` names; where nothing is
//! named there is nobody to tell.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Requests are taken.
    Ready,
    /// It says goodbye to its clients and ends.
    Stopping,
}

impl State {
    fn message(self) -> &'static [u8] {
        match self {
            State::Ready => b"READY=1\n",
            State::Stopping => b"STOPPING=1\n",
        }
    }
}

/// Tells the service manager, if there is one that wants to know. A manager that can't be told
/// ends or restarts the service by its own time-outs; all that can be done here is to say so.
pub fn tell(state: State) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = tell_at(&name, state) {
        tracing::warn!(%error, ?state, "the service manager can't be told");
    }
}

fn tell_at(name: &OsStr, state: State) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // The start and the end of the process must not wait for it.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.message(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_told_over_a_path_and_over_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("condorito-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (manager, told) in [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}").into()),
        ] {
            let mut bytes = [0; 64];
            for (state, message) in [(State::Ready, "READY=1\n"), (State::Stopping, "STOPPING=1\n")]
            {
                tell_at(&told, state).unwrap();
                let length = manager.recv(&mut bytes).unwrap();
                assert_eq!(&bytes[..length], message.as_bytes());
            }
        }
        assert!(tell_at(OsStr::new("/nowhere/at/all"), State::Ready).is_err());
    }
}
