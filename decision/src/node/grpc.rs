//! The `Decision` service.
use super::{Desk, NodeStatus, meters::Arrival, until::Until};
use crate::engine::Mode;
use futures::{Stream, StreamExt};
use std::{pin::Pin, sync::Arc, time::Duration};
use tidegate_mutant::{Mutant, is_on};
use tidegate_proto::{Refusal, WireError, v1};
use tonic::{Request, Response, Status, Streaming};

/// Most outcomes in one request from another node.
const FORWARDED_MAX: usize = 1_024;

/// Answers over gRPC.
#[derive(Clone, Debug)]
pub(crate) struct Service(pub(crate) Arc<Desk>);

impl Service {
    /// When the request came, as the server noted it.
    fn arrival<T>(&self, request: &Request<T>) -> Arrival {
        let noted = request.extensions().get::<Arrival>();
        noted.map_or_else(|| self.0.meters.arrived(), Arrival::clone)
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<v1::CheckInResponse, Status>> + Send>>;

#[tonic::async_trait]
impl v1::decision_server::Decision for Service {
    async fn check_in(
        &self,
        request: Request<v1::CheckInRequest>,
    ) -> Result<Response<v1::CheckInResponse>, Status> {
        let arrival = self.arrival(&request);
        while is_on(Mutant::StaleWaits) && self.0.standing().mode != Mode::Fresh {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let until = request.extensions().get();
        let answer = self.0.answer_until(request.get_ref(), &arrival, until);
        Ok(Response::new(answer))
    }

    type CheckInStreamStream = Answers;

    async fn check_in_stream(
        &self,
        requests: Request<Streaming<v1::CheckInRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let desk = Arc::clone(&self.0);
        let until: Option<Until> = requests.extensions().get().cloned();
        // Each when the connection has room for it, not before.
        let answer = move |request: Result<v1::CheckInRequest, Status>| {
            request
                .map(|request| desk.answer_until(&request, &desk.meters.arrived(), until.as_ref()))
        };
        Ok(Response::new(Box::pin(requests.into_inner().map(answer))))
    }

    async fn report_outcome(
        &self,
        report: Request<v1::OutcomeReport>,
    ) -> Result<Response<v1::OutcomeReply>, Status> {
        let arrival = self.arrival(&report);
        let reply = self.0.outcome(report.get_ref(), &arrival)?;
        Ok(Response::new(reply))
    }

    async fn forward_outcomes(
        &self,
        request: Request<v1::ForwardOutcomesRequest>,
    ) -> Result<Response<v1::ForwardOutcomesResponse>, Status> {
        let reports = request.into_inner().reports;
        if reports.len() > FORWARDED_MAX {
            let message = format!("at most {FORWARDED_MAX} outcomes, not {}", reports.len());
            return Err(WireError::refused(Refusal::TooLarge, message).into());
        }
        let replies = reports
            .iter()
            .map(|report| self.0.forwarded(report))
            .collect();
        Ok(Response::new(v1::ForwardOutcomesResponse { replies }))
    }

    async fn node_status(
        &self,
        _: Request<v1::NodeStatusRequest>,
    ) -> Result<Response<v1::NodeStatusResponse>, Status> {
        Ok(Response::new(NodeStatus::of(&self.0).into()))
    }
}
