//! Which file it is: whose, of which version, whole or damaged, and who may read it.

use super::*;

#[tokio::test]
async fn a_second_gateway_is_refused_by_any_name_of_the_file() {
    let folder = folder();
    let path = folder.path().join("ledger.db");
    let first = open(&folder);
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link, &folder.path().join(".").join("ledger.db")] {
        let said = refused(name);
        assert!(said.contains("another gateway is running"), "{said}");
    }
    bring(&first, 1, State::Settled).await;
    drop(first);
    let second = SqliteLedger::open(&link).unwrap();
    assert!(second.find(&id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_that_was_taken_away_takes_no_more_payments() {
    let folder = folder();
    let (path, aside) = (folder.path().join("ledger.db"), folder.path().join("aside.db"));
    let ledger = open(&folder);
    bring(&ledger, 1, State::Settled).await;
    fs::rename(&path, &aside).unwrap();
    let said = ledger.check().await.unwrap_err().to_string();
    assert!(said.contains("moved or deleted") && said.contains("ledger.db"), "{said}");
    fs::write(&path, "").unwrap();
    let said = ledger.reserve(payment(2, 1), Opening::Reserved).await.unwrap_err().to_string();
    assert!(said.contains("another file was put in its place"), "{said}");
    fs::rename(&aside, &path).unwrap();
    bring(&ledger, 2, State::Settled).await;
    assert_eq!(ledger.counts().await.unwrap().settled, 2);
}

#[test]
fn what_is_no_ledger_is_refused_and_left_as_it_is() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("garbage.db"), "this is no database".repeat(400)).unwrap();
    let other = Connection::open(at("other.db")).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(other);
    drop(SqliteLedger::open(&at("newer.db")).unwrap());
    Connection::open(at("newer.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    drop(SqliteLedger::open(&at("readonly.db")).unwrap());
    fs::set_permissions(at("readonly.db"), fs::Permissions::from_mode(0o400)).unwrap();
    fs::create_dir(at("folder.db")).unwrap();

    let cases = [
        ("garbage.db", "damaged or not a ledger"),
        ("other.db", "another program"),
        ("newer.db", "newer farebox (version 99"),
        ("readonly.db", "read-only"),
        ("folder.db", "not a file"),
        ("missing/ledger.db", "make the folder"),
    ];
    for (name, expected) in cases {
        let before = fs::read(at(name)).ok();
        let said = refused(&at(name));
        assert!(said.contains(expected) && said.contains(name.rsplit('/').next().unwrap()), "{said}");
        assert_eq!(fs::read(at(name)).ok(), before, "{name} is untouched");
    }
    let said = refused(Path::new("/proc/farebox-ledger.db"));
    assert!(said.contains("/proc/farebox-ledger.db"), "{said}");
}

#[tokio::test]
async fn a_file_of_version_1_is_brought_up_to_date_with_what_it_holds() {
    let folder = folder();
    let old = shell(&folder);
    old.execute_batch(include_str!("../schema_1.sql")).unwrap();
    old.pragma_update(None, "application_id", 0x4641_5245).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.execute_batch(&format!(
        "INSERT INTO payment (id, digest, state, route, host, payer, network, asset, amount, way, reserved_at, updated_at)
         VALUES ('{}', zeroblob(32), 'unknown', 'r', 'h', '', 'eip155:84532', '0x1', '5', 'usdc', 1, 2);
         INSERT INTO settle_request VALUES (1, 'body')",
        id(1)
    ))
    .unwrap();
    drop(old);
    let ledger = open(&folder);
    let due = ledger.claim_due(Claim { worker: "one", now: 2, until: 9 }, 5).await.unwrap();
    assert_eq!((&due[0].record.id, &*due[0].settle_request, due[0].tries), (&id(1), "body", 0));
    assert_eq!(ledger.counts().await.unwrap().unknown, 1);
}

#[tokio::test]
async fn a_file_of_version_2_is_brought_up_to_date_and_its_old_payments_are_pruned() {
    let folder = folder();
    let old = shell(&folder);
    for step in [include_str!("../schema_1.sql"), include_str!("../schema_2.sql")] {
        old.execute_batch(step).unwrap();
    }
    old.pragma_update(None, "application_id", 0x4641_5245).unwrap();
    old.pragma_update(None, "user_version", 2).unwrap();
    for (n, state, settled_at) in [(1, "settled", "2"), (2, "unknown", "NULL"), (3, "failed", "NULL")] {
        old.execute_batch(&format!(
            "INSERT INTO payment (id, digest, state, route, host, payer, network, asset, amount, way, valid_before,
                                  reserved_at, updated_at, settled_at)
             VALUES ('{}', zeroblob(32), '{state}', 'r', 'h', '', 'eip155:84532', '0x1', '5', 'usdc', 3, 1, 2, {settled_at})",
            id(n)
        ))
        .unwrap();
    }
    drop(old);
    let ledger = open(&folder);
    assert!(!ledger.find(&id(1)).await.unwrap().unwrap().by_operator);
    assert_eq!(ledger.prune(2999, 9).await.unwrap(), 1);
    assert_eq!(ledger.prune(3000, 9).await.unwrap(), 1);
    assert_eq!(ledger.counts().await.unwrap(), Counts { unknown: 1, oldest_unsettled: Some(2), ..Counts::default() });
}

#[tokio::test]
async fn damage_inside_the_file_is_an_error_and_no_panic() {
    let folder = folder();
    let path = folder.path().join("ledger.db");
    {
        let ledger = open(&folder);
        for n in 0..20 {
            bring(&ledger, n, State::Settled).await;
        }
    }
    // The first page, which names the tables, is left; every other one is noise.
    let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xa5; length - 4096]).unwrap();
    drop(file);
    let said = match SqliteLedger::open(&path) {
        Err(error) => error.to_string(),
        Ok(ledger) => {
            assert!(is_unavailable(ledger.reserve(payment(1, 1), Opening::Reserved).await));
            assert!(is_unavailable(ledger.find(&id(1)).await));
            assert!(is_unavailable(ledger.list(&Filter::default()).await));
            assert!(is_unavailable(ledger.counts().await));
            ledger.check().await.unwrap_err().to_string()
        }
    };
    assert!(said.contains("damaged") && said.contains("ledger.db"), "{said}");
}

#[tokio::test]
async fn only_the_owner_may_read_what_the_ledger_keeps() {
    let folder = folder();
    let ledger = open(&folder);
    bring(&ledger, 1, State::Unknown).await;
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// Whoever writes to it.
#[tokio::test]
async fn the_file_itself_takes_no_state_that_there_is_not() {
    let folder = folder();
    bring(&open(&folder), 1, State::Settled).await;
    let shell = shell(&folder);
    for state in ["paid", "", "Settled"] {
        let said = shell.execute("UPDATE payment SET state = ?1, settled_at = NULL", [state]).unwrap_err().to_string();
        assert!(said.contains("CHECK constraint failed: state = "), "{said}");
    }
    assert_eq!(shell.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
}
