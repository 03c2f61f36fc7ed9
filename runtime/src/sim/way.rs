//! How long messages take between simulated regions. madsim's network knows one range of
//! latencies for all links; the way between two regions is added here, at the calling end of each
//! connection.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future as _;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use madsim::rand::Rng as _;
use madsim::task::NodeId;
use madsim::time::{Sleep, TimeHandle};

use crate::Leg;

/// Where machines stand, and how far regions are apart.
#[derive(Debug, Default)]
struct Map {
    by_node: BTreeMap<NodeId, IpAddr>,
    regions: BTreeMap<IpAddr, String>,
    /// Least time for one way and how much longer it may take, in µs.
    ways: BTreeMap<(String, String), (u64, u64)>,
    /// What every message to a machine takes longer, in µs.
    lags: BTreeMap<IpAddr, u64>,
    /// How often all streams to a machine were ended.
    broken: BTreeMap<IpAddr, u64>,
}

thread_local! {
    // One simulation owns one thread, so its map may live there.
    static MAP: RefCell<Map> = RefCell::default();
}

/// Puts a machine into a region. A machine that was put nowhere is next to every other.
pub fn set_region(node: NodeId, ip: IpAddr, region: &str) {
    MAP.with_borrow_mut(|map| {
        map.by_node.insert(node, ip);
        map.regions.insert(ip, region.to_owned());
    });
}

/// Sets how long a message takes between two regions, in µs, in either direction: at least
/// `least`, and up to `jitter` longer.
pub fn set_way(between: [&str; 2], least: u64, jitter: u64) {
    let [a, b] = between.map(str::to_owned);
    MAP.with_borrow_mut(|map| {
        map.ways.insert((a.clone(), b.clone()), (least, jitter));
        map.ways.insert((b, a), (least, jitter));
    });
}

/// From now on every message to a machine takes longer by so much, in µs.
pub fn set_lag(node: NodeId, extra: u64) {
    MAP.with_borrow_mut(|map| {
        if let Some(ip) = map.by_node.get(&node) {
            map.lags.insert(*ip, extra);
        }
    });
}

/// Ends all streams to a machine that others opened, each when it is looked at next.
pub fn break_streams(to: IpAddr) {
    MAP.with_borrow_mut(|map| *map.broken.entry(to).or_insert(0) += 1);
}

/// Forgets all regions; call between two simulations on one thread.
pub fn clear_ways() {
    MAP.with_borrow_mut(|map| *map = Map::default());
}

/// The way from the machine that asks to an address.
#[derive(Clone, Debug)]
pub struct Way(Option<IpAddr>);

impl Way {
    /// The way to `host:port`.
    #[must_use]
    pub fn to(address: &str) -> Self {
        let socket = address.parse::<SocketAddr>();
        Self(socket.ok().map(|socket| socket.ip()))
    }

    /// One message passes.
    pub async fn pass(&self, leg: Leg) {
        if let Some(length) = self.length(leg) {
            madsim::time::sleep(length).await;
        }
    }

    /// Messages pass in order, many under way at once.
    pub fn stream<S: Stream>(&self, leg: Leg, stream: S) -> Passing<S> {
        Passing {
            stream,
            leg,
            way: self.clone(),
            under_way: VecDeque::new(),
            ended: false,
            breaks: self.breaks(),
            wait: None,
        }
    }

    /// How often streams on this way were ended.
    fn breaks(&self) -> u64 {
        let broken = |ip| MAP.with_borrow(|map| map.broken.get(&ip).copied());
        self.0.and_then(broken).unwrap_or(0)
    }

    /// How long the next message takes; nothing to the neighbourhood.
    fn length(&self, leg: Leg) -> Option<Duration> {
        let there = self.0?;
        let (way, lag) = MAP.with_borrow(|map| {
            let here = *map.by_node.get(&madsim::plugin::node())?;
            let region = |ip| map.regions.get(&ip).cloned();
            let way = map.ways.get(&(region(here)?, region(there)?)).copied();
            let hears = match leg {
                Leg::There => there,
                Leg::Back => here,
            };
            Some((way, map.lags.get(&hears).copied().unwrap_or(0)))
        })?;
        let regional = way.map_or(0, |(least, jitter)| {
            least + madsim::rand::thread_rng().gen_range(0..=jitter)
        });
        let length = regional + lag;
        (length > 0).then(|| Duration::from_micros(length))
    }
}

pin_project_lite::pin_project! {
    /// A stream whose items arrive some time after they were sent.
    pub struct Passing<S: Stream> {
        #[pin]
        stream: S,
        way: Way,
        leg: Leg,
        under_way: VecDeque<(Duration, S::Item)>,
        ended: bool,
        breaks: u64,
        wait: Option<Pin<Box<Sleep>>>,
    }
}

impl<S: Stream> std::fmt::Debug for Passing<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passing")
            .field("way", &self.way)
            .field("under_way", &self.under_way.len())
            .finish_non_exhaustive()
    }
}

impl<S: Stream> Stream for Passing<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        if this.way.breaks() != *this.breaks {
            return Poll::Ready(None);
        }
        let now = TimeHandle::current().elapsed();
        // Everything that was sent is under way at once: a message waits for none behind it.
        while !*this.ended {
            match this.stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(item)) => {
                    let last = this
                        .under_way
                        .back()
                        .map_or(Duration::ZERO, |(due, _)| *due);
                    let due = now + this.way.length(*this.leg).unwrap_or_default();
                    this.under_way.push_back((due.max(last), item));
                }
                Poll::Ready(None) => *this.ended = true,
                Poll::Pending => break,
            }
        }
        let Some((due, _)) = this.under_way.front() else {
            return if *this.ended {
                Poll::Ready(None)
            } else {
                Poll::Pending
            };
        };
        if *due > now {
            let left = *due - now;
            let wait = this
                .wait
                .get_or_insert_with(|| Box::pin(madsim::time::sleep(left)));
            if wait.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        *this.wait = None;
        Poll::Ready(this.under_way.pop_front().map(|(_, item)| item))
    }
}
