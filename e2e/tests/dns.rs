//! The DNS server, asked by hand.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use portolan_e2e::DnsServer;

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn result(bytes: &[u8]) -> (ResponseCode, Vec<Ipv4Addr>) {
    let message = Message::from_vec(bytes).unwrap();
    let addresses = message.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    });
    (message.metadata.response_code, addresses.collect())
}

fn ask_udp(server: &DnsServer, name: &str, kind: RecordType) -> Option<(ResponseCode, Vec<Ipv4Addr>)> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.send_to(&question(name, kind), server.addr()).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    Some(result(&buffer[..length]))
}

fn ask_tcp(server: &DnsServer, name: &str) -> (ResponseCode, Vec<Ipv4Addr>) {
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let question = question(name, RecordType::A);
    stream.write_all(&u16::try_from(question.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&question).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    result(&answer)
}

#[test]
fn names_wildcards_and_silence() {
    let [one, two, three] = [1, 2, 3].map(|last| Ipv4Addr::new(127, 0, 0, last));
    let server =
        DnsServer::start(&[("a.example.com", one), ("A.Example.com.", two), ("*.example.com", three)])
            .unwrap();
    let ask = |name| ask_udp(&server, name, RecordType::A);

    assert_eq!(ask("a.example.com."), Some((ResponseCode::NoError, vec![one, two])));
    assert_eq!(ask("A.EXAMPLE.com."), Some((ResponseCode::NoError, vec![one, two])));
    assert_eq!(ask("x.y.example.com."), Some((ResponseCode::NoError, vec![three])));
    assert_eq!(ask("example.com."), Some((ResponseCode::NXDomain, vec![])));
    assert_eq!(ask_udp(&server, "a.example.com.", RecordType::AAAA), Some((ResponseCode::NoError, vec![])));
    assert_eq!(ask_tcp(&server, "b.example.com."), (ResponseCode::NoError, vec![three]));

    server.set("a.example.com", three);
    assert_eq!(ask("a.example.com."), Some((ResponseCode::NoError, vec![three])));
    server.silent("a.example.com", true);
    assert_eq!(ask("a.example.com."), None);
    server.silent("a.example.com", false);
    server.remove("a.example.com");
    server.remove("*.example.com");
    assert_eq!(ask("a.example.com."), Some((ResponseCode::NXDomain, vec![])));

    assert_eq!(server.queries().len(), 9);
    assert_eq!(server.queries()[1], "a.example.com");
}
