use super::*;
use proptest::prelude::*;

const NOW: u64 = 1_790_000_000;

fn keys(ids: &[&str]) -> PassKeys {
    let secrets: Vec<[u8; 32]> = ids.iter().map(|id| [id.as_bytes()[0]; 32]).collect();
    PassKeys::new(ids.iter().copied().zip(secrets.iter().map(<[u8; 32]>::as_slice))).unwrap()
}

fn claims() -> Claims {
    Claims {
        payer: "0x857b06519E91e3A54538791bDbb0E22373e36b66".into(),
        payment_id: PaymentId::parse(&"0123456789abcdef".repeat(4)).unwrap(),
        expires_at: NOW + 60,
        uses: Some(100),
    }
}

fn pass() -> Pass<'static> {
    Pass { route: "premium", host: "api.example.com", claims: claims() }
}

/// Signs any payload, also one that `issue` would not write.
fn sign(keys: &PassKeys, payload: &[u8]) -> String {
    let signed = format!("fb1.{}.{}", keys.signing().id, URL_SAFE_NO_PAD.encode(payload));
    let mac = mac_over(&keys.signing().mac, "premium", "api.example.com", &signed).finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}

#[test]
fn a_pass_opens_its_route_on_its_host_until_it_expires() {
    let keys = keys(&["a"]);
    let token = keys.issue(&pass());
    assert_eq!(keys.check(&token, "premium", "api.example.com", NOW), Ok(claims()));
    for (route, host, now, expected) in [
        ("premium", "api.example.com", NOW + 59, Ok(claims())),
        ("premium", "api.example.com", NOW + 60, Err(Denied::Expired)),
        ("premium", "api.example.com", u64::MAX, Err(Denied::Expired)),
        ("other", "api.example.com", NOW, Err(Denied::BadMac)),
        ("premium", "www.example.com", NOW, Err(Denied::BadMac)),
        ("premium", "", NOW, Err(Denied::BadMac)),
        // The same letters, cut elsewhere.
        ("premiumapi", ".example.com", NOW, Err(Denied::BadMac)),
    ] {
        assert_eq!(keys.check(&token, route, host, now), expected, "{route} {host} {now}");
    }
}

/// Made by another implementation from the layout in the module's documentation. A change breaks passes in the
/// hands of clients, and wants another version.
#[test]
fn a_pass_has_the_documented_layout() {
    let token = concat!(
        "fb1.a.AAAAAGqxO7wBAAAAZAEjRWeJq83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vKjB4ODU3YjA2NTE5RTkxZTNB",
        "NTQ1Mzg3OTFiRGJiMEUyMjM3M2UzNmI2Ng.Qlsud5Ol3jbgYXOo_aBNV1GMlSvMjJ-ut7GMSVxr-jI",
    );
    let keys = keys(&["a"]);
    assert_eq!(keys.issue(&pass()), token);
    assert_eq!(keys.check(token, "premium", "api.example.com", NOW), Ok(claims()));
}

#[test]
fn keys_rotate() {
    let (old, both, new) = (keys(&["old"]), keys(&["new", "old"]), keys(&["new"]));
    let (from_old, from_both) = (old.issue(&pass()), both.issue(&pass()));
    let check = |keys: &PassKeys, token: &str| keys.check(token, "premium", "api.example.com", NOW).map(|_| ());
    assert_eq!(check(&both, &from_old), Ok(()), "a retiring key still checks");
    assert_eq!(check(&new, &from_both), Ok(()), "the first key signs");
    assert_eq!(check(&new, &from_old), Err(Denied::UnknownKey));
    assert_eq!(check(&keys(&["never", "new"]), &from_both), Ok(()), "keys are found by id, not by place");
    let renamed = from_old.replacen("fb1.old.", "fb1.new.", 1);
    assert_eq!(check(&both, &renamed), Err(Denied::BadMac));
}

#[test]
fn a_token_fits_into_a_url_a_header_and_a_cookie() {
    let token = keys(&["a"]).issue(&pass());
    assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')), "{token}");
    assert!(token.starts_with("fb1.a.") && token.len() < 200, "{token}");
}

#[test]
fn the_longest_token_is_read_and_a_longer_one_is_not() {
    let id = "k".repeat(KEY_ID_BYTES_MAX);
    let keys = keys(&[&id]);
    let mut pass = pass();
    pass.claims.payer = "p".repeat(PAYER_BYTES_MAX).into();
    let token = keys.issue(&pass);
    assert_eq!(token.len(), TOKEN_BYTES_MAX);
    assert_eq!(keys.check(&token, "premium", "api.example.com", NOW), Ok(pass.claims));
    assert_eq!(keys.check(&format!("{token}A"), "premium", "api.example.com", NOW), Err(Denied::Malformed));
}

#[test]
fn a_payer_that_is_no_address_is_left_out() {
    let keys = keys(&["a"]);
    for payer in ["", "a b", "é", "a\nb", &"p".repeat(PAYER_BYTES_MAX + 1)] {
        let mut pass = pass();
        pass.claims.payer = payer.into();
        let read = keys.check(&keys.issue(&pass), "premium", "api.example.com", NOW).unwrap();
        assert_eq!(&*read.payer, "");
    }
}

#[test]
fn a_signed_payload_of_another_shape_is_still_no_pass() {
    let keys = keys(&["a"]);
    let good = claims().to_payload();
    assert!(keys.check(&sign(&keys, &good), "premium", "api.example.com", NOW).is_ok());
    let longer = [&good[..], b"x"].concat();
    let mut unlimited_with_count = good.clone();
    unlimited_with_count[8] = 0;
    let mut odd_tag = good.clone();
    odd_tag[8] = 2;
    let mut control = good.clone();
    control[HEAD_BYTES] = b'\n';
    for payload in
        [&[][..], &good[..HEAD_BYTES - 1], &good[..good.len() - 1], &longer, &unlimited_with_count, &odd_tag, &control]
    {
        let token = sign(&keys, payload);
        assert_eq!(keys.check(&token, "premium", "api.example.com", NOW), Err(Denied::Malformed), "{payload:?}");
    }
}

#[test]
fn what_is_no_pass_is_malformed() {
    let keys = keys(&["a"]);
    let token = keys.issue(&pass());
    let cases = [
        String::new(),
        "fb1".into(),
        "fb1...".into(),
        "fb1.a.b".into(),
        token.replacen("fb1", "fb2", 1),
        format!("{token}="),
        format!("{token}.x"),
        format!(" {token}"),
        token.rsplit_once('.').unwrap().0.to_owned(),
        "é".repeat(20),
    ];
    for bad in cases {
        assert_eq!(keys.check(&bad, "premium", "api.example.com", NOW), Err(Denied::Malformed), "{bad}");
    }
    let one_part_more = token.replacen("fb1.a.", "fb1.a.b.", 1);
    assert_eq!(keys.check(&one_part_more, "premium", "api.example.com", NOW), Err(Denied::BadMac));
}

#[test]
fn no_single_character_of_a_token_can_be_changed() {
    let keys = keys(&["a"]);
    let token = keys.issue(&pass());
    for at in 0..token.len() {
        for other in ["A", "B", "z", "-", "_", ".", "", "="] {
            let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            let got = keys.check(&changed, "premium", "api.example.com", NOW);
            assert_eq!(got.is_ok(), changed == token, "{changed}");
        }
    }
}

#[test]
fn a_pass_that_has_come_before_opens_no_more_than_the_first_time() {
    let keys = keys(&["a"]);
    let token = keys.issue(&pass());
    let elsewhere = keys.issue(&Pass { route: "other", ..pass() });
    let cases = [
        (&token, "premium", "api.example.com", NOW),
        (&token, "premium", "api.example.com", NOW + 59),
        (&token, "premium", "api.example.com", NOW + 60),
        (&token, "other", "api.example.com", NOW),
        (&token, "premium", "www.example.com", NOW),
        (&elsewhere, "other", "api.example.com", NOW),
        (&elsewhere, "premium", "api.example.com", NOW),
    ];
    for time in 0..3 {
        for (token, route, host, now) in cases {
            let expected = keys.check(token, route, host, now);
            assert_eq!(keys.open(token, route, host, now), expected, "{route} {host} {now}, time {time}");
            let (signed, mac) = parts(token).unwrap();
            let known = keys.proven.get(signed, mac, route, host);
            let is_good = expected.is_ok() || expected == Err(Denied::Expired);
            assert_eq!(known.is_some(), is_good, "{route} {host} {now}, time {time}");
        }
    }
    let forged = PassKeys::new([("a", &[b'b'; 32][..])]).unwrap().issue(&pass());
    assert_eq!(keys.open(&forged, "premium", "api.example.com", NOW), Err(Denied::BadMac), "what is signed is known");
    let rotated = PassKeys::new([("b", &[b'b'; 32][..])]).unwrap();
    assert_eq!(rotated.open(&token, "premium", "api.example.com", NOW), Err(Denied::UnknownKey));
}

#[test]
fn what_is_no_good_pass_is_not_remembered() {
    let (keys, others) = (keys(&["a"]), PassKeys::new([("a", &[b'b'; 32][..])]).unwrap());
    let (forged, expired) = (others.issue(&pass()), keys.issue(&pass()));
    for (token, now) in [(&forged, NOW), (&expired, NOW + 60), (&"fb1".to_owned(), NOW)] {
        assert!(keys.open(token, "premium", "api.example.com", now).is_err());
        let known = parts(token).and_then(|(signed, mac)| keys.proven.get(signed, mac, "premium", "api.example.com"));
        assert_eq!(known, None);
    }
}

proptest! {
    #[test]
    fn claims_survive_the_journey(
        payer in "[!-~]{0,128}",
        id in "[0-9a-f]{64}",
        expires_at in 1..u64::MAX,
        uses in any::<Option<u32>>(),
        route in ".{0,40}",
        host in ".{0,40}",
    ) {
        let keys = keys(&["a", "b"]);
        let claims = Claims { payer: payer.into(), payment_id: PaymentId::parse(&id).unwrap(), expires_at, uses };
        let token = keys.issue(&Pass { route: &route, host: &host, claims: claims.clone() });
        prop_assert_eq!(keys.check(&token, &route, &host, expires_at - 1), Ok(claims));
        prop_assert_eq!(keys.check(&token, &route, &host, expires_at), Err(Denied::Expired));
        for _ in 0..2 {
            prop_assert_eq!(keys.open(&token, &route, &host, expires_at - 1), keys.check(&token, &route, &host, 0));
        }
        prop_assert_eq!(keys.check(&token, &format!("{route}x"), &host, 0), Err(Denied::BadMac));
    }

    #[test]
    fn no_text_makes_it_panic(token in ".{0,400}", parts in prop::collection::vec("[A-Za-z0-9_-]{0,60}", 0..6)) {
        let keys = keys(&["a"]);
        prop_assert!(keys.check(&token, "", "", 0).is_err());
        let almost = format!("fb1.a.{}", parts.join("."));
        prop_assert!(keys.check(&almost, "", "", 0).is_err());
    }
}
