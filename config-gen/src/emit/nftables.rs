//! The rules by which the kernel leads connections to the transparent listener.

use std::net::{IpAddr, SocketAddr};

use crate::options::{EnvoyOptions, OwnConnections};

/// A ruleset for `nft -f`. Loading it again puts it in its own place.
pub(super) fn ruleset(options: &EnvoyOptions) -> String {
    let mut rules = Vec::new();
    let mut rule = |comment: &str, lines: Vec<String>| {
        rules.push(format!("\t\t# {comment}\n"));
        rules.extend(lines.iter().map(|line| format!("\t\t{line}\n")));
    };
    rule("What doesn't leave this machine.", vec!["oifname \"lo\" return".to_owned()]);
    match options.own_connections {
        OwnConnections::Mark(mark) => {
            rule(
                "Envoy's own connections, which have this mark.",
                vec![format!("meta mark {mark:#x} return")],
            );
            // Its resolver's sockets have none.
            rule("Envoy's questions to DNS servers, where an answer is too long for UDP.", dns(options));
        }
        OwnConnections::User(user) => {
            rule("Connections of the user that Envoy runs as.", vec![format!("meta skuid {user} return")]);
        }
    }
    let tcp = |family: &str, rest: &str| format!("meta nfproto {family} meta l4proto tcp {rest}");
    let families = [("ipv4", "ip"), ("ipv6", "ip6")].map(|(family, name)| {
        let address = options.transparent.iter().find(|address| address.is_ipv4() == (family == "ipv4"));
        (family, address.map(|address| tcp(family, &redirect(name, *address))))
    });
    rule("All others.", families.iter().filter_map(|(_, redirected)| redirected.clone()).collect());
    for (family, redirected) in families {
        if redirected.is_none() {
            rule(
                "Envoy doesn't listen for these; they would pass it by.",
                vec![tcp(family, "reject with tcp reset")],
            );
        }
    }
    format!(
        "{HEADER}table inet {TABLE} {{\n\tchain output {{\n\t\ttype nat hook output priority -100; policy accept;\n{}\t}}\n}}\n",
        rules.concat()
    )
}

const TABLE: &str = "portolan";

const HEADER: &str = "\
#!/usr/sbin/nft -f
# Written by `config-gen generate --transparent`: leads the TCP connections that programs of this
# network namespace make to Envoy, but not Envoy's own. UDP is left alone, QUIC and DNS included.
#   to load, also again:  nft -f portolan.nft
#   to remove:            nft delete table inet portolan

# Made if it isn't there, so that it can be removed; all of this file takes effect at once.
table inet portolan
delete table inet portolan

";

fn dns(options: &EnvoyOptions) -> Vec<String> {
    if options.dns_resolvers.is_empty() {
        return vec!["tcp dport 53 return".to_owned()];
    }
    let rule = |server: &SocketAddr| {
        let family = if server.is_ipv4() { "ip" } else { "ip6" };
        format!("{family} daddr {} tcp dport {} return", server.ip(), server.port())
    };
    options.dns_resolvers.iter().map(rule).collect()
}

/// `redirect` leads to 127.0.0.1 and `::1`.
fn redirect(family: &str, address: SocketAddr) -> String {
    let is_local = match address.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip == std::net::Ipv4Addr::LOCALHOST,
        IpAddr::V6(ip) => ip.is_unspecified() || ip == std::net::Ipv6Addr::LOCALHOST,
    };
    if is_local { format!("redirect to :{}", address.port()) } else { format!("dnat {family} to {address}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(options: &EnvoyOptions) -> Vec<String> {
        let ruleset = ruleset(options);
        let lines = ruleset.lines().map(str::trim).skip_while(|line| !line.starts_with("type nat"));
        lines.skip(1).filter(|line| !line.starts_with('#') && *line != "}").map(str::to_owned).collect()
    }

    #[test]
    fn a_family_without_listener_is_not_let_past() {
        let options =
            EnvoyOptions { transparent: vec!["127.0.0.1:15001".parse().unwrap()], ..EnvoyOptions::default() };
        assert_eq!(
            rules(&options),
            [
                "oifname \"lo\" return",
                "meta mark 0x706f return",
                "tcp dport 53 return",
                "meta nfproto ipv4 meta l4proto tcp redirect to :15001",
                "meta nfproto ipv6 meta l4proto tcp reject with tcp reset",
            ]
        );
    }

    #[test]
    fn both_families_a_user_and_other_addresses() {
        let options = EnvoyOptions {
            transparent: vec!["[fd00::1]:15001".parse().unwrap(), "0.0.0.0:15006".parse().unwrap()],
            own_connections: OwnConnections::User(101),
            ..EnvoyOptions::default()
        };
        assert_eq!(
            rules(&options),
            [
                "oifname \"lo\" return",
                "meta skuid 101 return",
                "meta nfproto ipv4 meta l4proto tcp redirect to :15006",
                "meta nfproto ipv6 meta l4proto tcp dnat ip6 to [fd00::1]:15001",
            ]
        );
    }

    #[test]
    fn only_the_servers_that_are_asked_pass() {
        let options = EnvoyOptions {
            transparent: vec!["127.0.0.1:1".parse().unwrap()],
            dns_resolvers: vec!["10.0.0.53:5353".parse().unwrap(), "[fd00::53]:53".parse().unwrap()],
            ..EnvoyOptions::default()
        };
        let rules = rules(&options);
        assert!(rules.contains(&"ip daddr 10.0.0.53 tcp dport 5353 return".to_owned()), "{rules:#?}");
        assert!(rules.contains(&"ip6 daddr fd00::53 tcp dport 53 return".to_owned()), "{rules:#?}");
        assert!(!rules.contains(&"tcp dport 53 return".to_owned()), "{rules:#?}");
    }
}
