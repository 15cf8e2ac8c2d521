//! Frames verified before their turn end as those verified in it.

use super::*;
use crate::decode::Level;
use crate::source::Parcel;

fn deliveries(frames: Vec<Vec<u8>>) -> Vec<Delivery> {
    let relay = upstream(UpstreamKind::Relay, "relay.example.org");
    let delivery = |frame: Vec<u8>| Delivery {
        upstream: relay.clone(),
        seen_at: DateTime::from_timestamp(1_770_000_000, 0).unwrap(),
        live: true,
        frame: frame.into(),
    };
    frames.into_iter().map(delivery).collect()
}

/// Some frames travel alone, others together.
fn parcels(deliveries: &[Delivery]) -> Vec<Parcel> {
    let (alone, together) = deliveries.split_at(1);
    let mut rest = Parcel::default();
    for Delivery { upstream, seen_at, live, frame } in together {
        rest.push(upstream, *seen_at, *live, frame.clone());
    }
    vec![alone[0].clone().into(), rest]
}

impl Bench {
    fn see_together(&mut self, deliveries: &[Delivery]) -> bool {
        self.judge.look_ahead(&self.policy, &parcels(deliveries));
        let ahead = self.judge.ahead.is_ahead();
        for delivery in deliveries {
            self.judge.judge(&self.policy, delivery, &mut self.batch);
        }
        ahead
    }
}

#[test]
fn what_was_verified_before_its_turn_is_judged_alike() {
    let (mut anna, mut benjamin) = (Author::new("anna"), Author::new("benjamin"));
    let mut thief = Author::new("anna");
    thief.repo = Repo::new("did:plc:anna", SigningKey::from_entropy(Curve::K256, [99; 32]));
    thief.micros += 500_000_000;
    let mut frames = Vec::new();
    for n in 0..60 {
        frames.push(anna.create(EVENT, &format!("a{n}")));
        frames.push(benjamin.create(if n % 3 == 0 { POST } else { EVENT }, &format!("b{n}")));
        if n % 10 == 9 {
            frames.push(thief.create(EVENT, &format!("t{n}")));
            frames.push(b"no frame".to_vec());
        }
    }
    let deliveries = deliveries(frames);
    let documents = [&anna, &benjamin].map(|author| DidDocument::clone(&author.document()));
    let trust = || Trust::given(Level::Full, documents.clone());
    let (mut one_by_one, mut together) = (Bench::trusting(trust()), Bench::trusting(trust()));
    let mut ahead = 0;
    for chunk in deliveries.chunks(50) {
        for delivery in chunk {
            one_by_one.judge.judge(&one_by_one.policy, delivery, &mut one_by_one.batch);
        }
        ahead += usize::from(together.see_together(chunk));
    }
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    assert_eq!(ahead, if cores > 1 { 2 } else { 0 }, "the first chunk says that it is worth it");
    assert_eq!(together.puts(), one_by_one.puts());
    assert_eq!(together.puts().len(), 100);
    assert_eq!(together.judge.tally.refused_by_reason(), one_by_one.judge.tally.refused_by_reason());
    assert_eq!(together.refused().len(), 2, "the thief's frames and those that are none");
    assert_eq!(together.known(&anna).head, one_by_one.known(&anna).head);
}

#[test]
fn what_was_verified_with_another_key_counts_for_nothing() {
    let mut anna = Author::new("anna");
    let frames = (0..100).map(|n| anna.create(EVENT, &format!("a{n}"))).collect();
    let deliveries = deliveries(frames);
    let mut bench = Bench::new();
    bench.judge.judge(&bench.policy, &deliveries[0], &mut bench.batch);
    bench.identify(&anna);
    for chunk in [&deliveries[1..40], &deliveries[40..60]] {
        bench.see_together(chunk);
    }
    assert_eq!(bench.puts().len(), 60);
    bench.judge.ahead.worth_it();
    bench.judge.look_ahead(&bench.policy, &parcels(&deliveries[60..]));
    // The document changes after they were verified: the old key proves nothing any more.
    anna.account.key = SigningKey::from_entropy(Curve::P256, [7; 32]);
    bench.find(anna.identity());
    for delivery in &deliveries[60..] {
        bench.judge.judge(&bench.policy, delivery, &mut bench.batch);
    }
    assert_eq!(bench.puts().len(), 60);
}
