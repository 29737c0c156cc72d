//! The servers under measurement: those that a row needs are started, the others are not.

use std::net::SocketAddr;
use std::path::Path;

use super::Failure;
use super::answers;
use super::bare::{self, Challenge};
use super::front;
use super::gateway::{self, AccessLog};
use super::peer::{self, Peer, Surroundings};
use super::process::Process;
use super::rows::Row;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// nginx.
    Nginx,
    /// Pingora alone.
    Bare,
    /// Farebox without its access log.
    Quiet,
    /// Farebox with its access log.
    Logging,
    /// Another way to ask for a payment.
    Peer(Peer),
    /// pay-gate, whose challenge has at least as many bytes as Farebox's.
    PayGateAlike,
}

/// What they are started with.
pub struct Setting<'a> {
    /// For what they write.
    pub folder: &'a Path,
    /// Where they forward to.
    pub origin: SocketAddr,
    /// Farebox's binary.
    pub farebox: &'a Path,
    /// Farebox's challenge, which the others without terms of their own answer, too.
    pub challenge: &'a Challenge,
}

impl Server {
    /// Whether it is another way to ask for a payment.
    pub fn is_peer(self) -> bool {
        matches!(self, Server::Peer(_) | Server::PayGateAlike)
    }
}

impl Setting<'_> {
    /// Starts what is no peer.
    fn start(&self, server: Server) -> Result<Option<Process>, Failure> {
        let farebox = |access| gateway::start(self.farebox, self.folder, self.origin, access);
        match server {
            Server::Nginx => front::start(self.folder, self.origin, self.challenge).map(Some),
            Server::Bare => bare::start(self.folder, self.origin, self.challenge).map(Some),
            Server::Quiet => farebox(AccessLog::Off).map(Some),
            Server::Logging => farebox(AccessLog::On).map(Some),
            Server::Peer(_) | Server::PayGateAlike => Ok(None),
        }
    }
}

/// Those that run.
pub struct Servers {
    running: Vec<(Server, Process)>,
    /// What the peers are, or why there is none.
    pub notes: Vec<String>,
    facilitator: Option<Process>,
}

impl Servers {
    /// Starts those of the rows beside `quiet`. A peer that cannot be had is noted: everything else is measured.
    pub fn start(setting: &Setting, quiet: Process, rows: &[Row]) -> Result<Servers, Failure> {
        let mut servers = Servers { running: vec![(Server::Quiet, quiet)], notes: Vec::new(), facilitator: None };
        let mut wanted: Vec<Server> = Vec::new();
        for row in rows {
            if !wanted.contains(&row.server) {
                wanted.push(row.server);
            }
        }
        for server in wanted.into_iter().filter(|server| *server != Server::Quiet) {
            match setting.start(server)? {
                Some(process) => servers.running.push((server, process)),
                None => match servers.peer(setting, server) {
                    Ok(process) => servers.running.push((server, process)),
                    Err(failure) => servers.note(format!("There is no {}: {failure}.", peer_of(server).name())),
                },
            }
        }
        if let (Some(bare), Some(quiet)) = (servers.of(Server::Bare), servers.of(Server::Quiet)) {
            answers::same_answers(bare.address, quiet.address)?;
        }
        Ok(servers)
    }

    /// New processes of all but the peers: two of one binary differ by some percent for as long as they run. A peer stays, for
    /// those that compile while they run become quicker for a while.
    pub fn renew(&mut self, setting: &Setting) -> Result<(), Failure> {
        for (server, process) in &mut self.running {
            if let Some(renewed) = setting.start(*server)? {
                *process = renewed;
            }
        }
        Ok(())
    }

    /// The process of a row, if it runs.
    pub fn of(&self, server: Server) -> Option<&Process> {
        self.running.iter().find(|(running, _)| *running == server).map(|(_, process)| process)
    }

    /// Installs and starts a peer that asks for the same payment.
    fn peer(&mut self, setting: &Setting, server: Server) -> Result<Process, Failure> {
        let peer = peer_of(server);
        let versions = peer.install()?;
        self.note(format!("{}: {versions}.", peer.name()));
        let facilitator = match &self.facilitator {
            Some(running) => running.address,
            None => self.facilitator.insert(peer::facilitator(setting.folder)?).address,
        };
        let around = Surroundings { folder: setting.folder, origin: setting.origin, facilitator };
        let process = peer.start(&around, 0)?;
        let theirs = answers::challenge_bytes(process.address)?;
        if server != Server::PayGateAlike {
            return Ok(process);
        }
        let quiet = self.of(Server::Quiet).ok_or("Farebox does not run")?;
        let missing = answers::challenge_bytes(quiet.address)?.saturating_sub(theirs);
        // Its terms travel in base64, where three characters are four bytes.
        let longer = peer.start(&around, 3 * missing.div_ceil(4))?;
        match answers::challenge_bytes(longer.address)?.checked_sub(theirs) {
            Some(added) if added >= missing => Ok(longer),
            _ => Err("its challenge stays shorter than Farebox's".into()),
        }
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

fn peer_of(server: Server) -> Peer {
    match server {
        Server::Peer(peer) => peer,
        _ => Peer::PayGate,
    }
}
