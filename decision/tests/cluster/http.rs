//! A device that speaks HTTP/JSON.
use serde_json::Value;
use tidegate_decision::node::Node;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One request on a connection of its own; the status and the JSON that came back.
pub async fn ask(node: &Node, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(node.http_address().unwrap())
        .await
        .unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}
