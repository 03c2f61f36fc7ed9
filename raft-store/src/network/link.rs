//! The envelope of every frame between two nodes: whose it is, for whom, and how its sender stands:
//! what time it is there, and how much room.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use tidegate_proto::v1::Frame;
use tidegate_runtime::{Clock, WallMs};

use super::clocks::PeerClocks;
use crate::room::{Level, Room};
use crate::types::NodeId;

/// Version of the peer protocol; a frame of another one is refused.
const VERSION: u8 = 2;
/// Bytes before the body: version, cluster tag, from, to, wall clock, level of room.
const HEADER_BYTES: usize = 1 + 8 + 8 + 8 + 8 + 1;

/// What this node puts on its frames, and what it demands of those that come.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    me: NodeId,
    /// First eight bytes of the origin's hash: keeps two clusters apart that reach each other by
    /// mistake. It authenticates nothing.
    cluster: u64,
    clock: Arc<dyn Clock>,
    clocks: Arc<PeerClocks>,
    room: Arc<Room>,
}

/// A frame that this node must not act on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the frame has {0} bytes, a header alone has {HEADER_BYTES}")]
    Short(usize),
    #[error("the peer speaks version {0} of the peer protocol, this node {VERSION}")]
    Version(u8),
    #[error("the peer belongs to another cluster; check `origin` and the peers' addresses")]
    OtherCluster,
    #[error("the frame is for node {0}, this is node {1}; check the peers' addresses")]
    OtherNode(NodeId, NodeId),
}

impl Link {
    pub(crate) fn new(
        me: NodeId,
        origin: &str,
        clock: Arc<dyn Clock>,
        clocks: Arc<PeerClocks>,
        room: Arc<Room>,
    ) -> Self {
        let hash = blake3::hash(origin.as_bytes());
        let cluster = hash.as_bytes().as_slice().get_u64();
        Self {
            me,
            cluster,
            clock,
            clocks,
            room,
        }
    }

    /// This node.
    pub(crate) const fn me(&self) -> NodeId {
        self.me
    }

    /// How much room this node has.
    pub(super) fn level(&self) -> Level {
        self.room.level()
    }

    /// A frame for node `to` whose body `write` appends.
    pub(crate) fn seal(&self, to: NodeId, write: impl FnOnce(&mut Vec<u8>)) -> Frame {
        let mut out = Vec::with_capacity(256);
        out.put_u8(VERSION);
        out.put_u64(self.cluster);
        out.put_u64(self.me);
        out.put_u64(to);
        out.put_u64(self.clock.wall().0);
        out.put_u8(self.room.level() as u8);
        write(&mut out);
        Frame { body: out.into() }
    }

    /// The sender and body of a frame that is for this node, and notes how its sender
    /// stands.
    pub(crate) fn open(&self, frame: Frame) -> Result<(NodeId, Bytes), LinkError> {
        let mut body = frame.body;
        let len = body.len();
        let version = body.first().copied().unwrap_or(VERSION);
        if version != VERSION {
            return Err(LinkError::Version(version));
        }
        if len < HEADER_BYTES {
            return Err(LinkError::Short(len));
        }
        body.advance(1);
        let cluster = body.get_u64();
        let (from, to) = (body.get_u64(), body.get_u64());
        let theirs = WallMs(body.get_u64());
        let level = Level::stated(body.get_u8());
        if cluster != self.cluster {
            return Err(LinkError::OtherCluster);
        }
        if to != self.me {
            return Err(LinkError::OtherNode(to, self.me));
        }
        self.clocks.heard(from, theirs, self.clock.boot());
        self.room.heard(from, level);
        Ok((from, body))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::time::Duration;
    use tidegate_runtime::disk::SimDisk;
    use tidegate_runtime::{AsyncRuntime as _, BootInstant, Rt};

    /// Always noon of the first day: frames need no runtime, and so no real clock.
    #[derive(Debug)]
    struct Noon;

    impl Clock for Noon {
        fn wall(&self) -> WallMs {
            WallMs(12 * 3_600_000)
        }

        fn boot(&self) -> BootInstant {
            BootInstant::from_boot(Duration::ZERO)
        }
    }

    pub(in crate::network) fn link(me: NodeId, origin: &str) -> Link {
        let disk = SimDisk::new().mount();
        let room = Rt::new(1).block_on(Room::new(Arc::new(disk), 0)).unwrap();
        Link::new(me, origin, Arc::new(Noon), Arc::default(), Arc::new(room))
    }

    #[test]
    fn a_frame_reaches_the_node_it_is_for_and_no_other() {
        let frame = link(1, "a/b").seal(2, |out| out.extend_from_slice(b"body"));
        let opened = link(2, "a/b").open(frame.clone()).unwrap();
        assert_eq!(opened, (1, Bytes::from_static(b"body")));
        let elsewhere = link(3, "a/b").open(frame.clone());
        assert_eq!(elsewhere, Err(LinkError::OtherNode(2, 3)));
        assert_eq!(link(2, "a/c").open(frame), Err(LinkError::OtherCluster));
    }

    #[test]
    fn any_cut_of_a_frame_is_refused_or_keeps_its_header() {
        let frame = link(1, "a/b").seal(2, |out| out.push(7));
        for len in 0..frame.body.len() {
            let cut = Frame {
                body: frame.body.slice(..len),
            };
            match link(2, "a/b").open(cut) {
                Err(LinkError::Short(found)) => assert_eq!(found, len),
                Ok((1, body)) => assert!(len == HEADER_BYTES && body.is_empty()),
                other => panic!("{len} bytes: {other:?}"),
            }
        }
    }

    #[test]
    fn another_protocol_version_is_refused() {
        let mut body = link(1, "a/b").seal(2, |_| {}).body.to_vec();
        body[0] = 1;
        let frame = Frame { body: body.into() };
        assert_eq!(link(2, "a/b").open(frame), Err(LinkError::Version(1)));
    }
}
