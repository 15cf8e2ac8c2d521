//! A secret opens in the row for which it was sealed.

use almanac::identity::credential::{self, CredentialError, CredentialName};

use crate::world::*;

const PASSWORD: CredentialName = CredentialName::Password;

#[tokio::test]
async fn a_secret_is_stored_replaced_and_forgotten() {
    let (db, vault) = (database().await, vault(&["may", "april"]));
    accounts(&db, &vault, 2).await;
    assert_eq!(load(&db, &vault, 0, PASSWORD).await, Ok(Some(secret(0, PASSWORD, 0))));
    store(&db, &vault, 0, PASSWORD, 1).await;
    assert_eq!(load(&db, &vault, 0, PASSWORD).await, Ok(Some(secret(0, PASSWORD, 1))));
    assert_eq!(load(&db, &vault, 1, PASSWORD).await, Ok(Some(secret(1, PASSWORD, 0))));
    let held = credential::held(db.pool(), &did(0)).await.unwrap();
    let held: Vec<_> = held.iter().map(|held| (held.name.as_str(), held.key_id.as_deref())).collect();
    let may = Some("may");
    assert_eq!(held, [("access_token", may), ("password", may), ("refresh_token", may)]);
    let mut connection = db.pool().acquire().await.unwrap();
    assert!(credential::forget(&mut connection, &did(0), PASSWORD).await.unwrap());
    assert!(!credential::forget(&mut connection, &did(0), PASSWORD).await.unwrap());
    assert_eq!(load(&db, &vault, 0, PASSWORD).await, Ok(None));
    assert_eq!(credential::forget_all(&mut connection, &did(0)).await.unwrap(), 2);
    assert_eq!(key_use(&db).await, [("may".to_owned(), 3)]);
}

#[tokio::test]
async fn nothing_is_stored_for_an_account_that_is_not_kept_by_us() {
    let (db, vault) = (database().await, vault(&["may"]));
    link(&db, 0).await;
    let mut connection = db.pool().acquire().await.unwrap();
    let mut attempt = async |user_id: String, did: String| {
        credential::store(&mut connection, &vault, &user_id, &did, PASSWORD, &"x".into()).await
    };
    for (user_id, did) in [(user(0), did(1)), (user(1), did(0)), (user(1), did(1))] {
        assert!(matches!(attempt(user_id, did).await, Err(CredentialError::NotOurs { .. })));
    }
    attempt(user(0), did(0)).await.unwrap();
    sqlx::query("update identity.account set custodial = false").execute(db.pool()).await.unwrap();
    assert!(matches!(attempt(user(0), did(0)).await, Err(CredentialError::NotOurs { .. })));
}

#[tokio::test]
async fn an_envelope_in_another_row_does_not_open() {
    let (db, vault) = (database().await, vault(&["may"]));
    accounts(&db, &vault, 3).await;
    let copy = "update identity.credential c set envelope = o.envelope from identity.credential o
                where c.did = $1 and c.name = $2 and o.did = $3 and o.name = $4";
    // Another account's, and another column's.
    for (from, from_name, to, to_name) in [(1, "password", 0, "password"), (1, "access_token", 1, "refresh_token")] {
        let done = sqlx::query(copy).bind(did(to)).bind(to_name).bind(did(from)).bind(from_name);
        assert_eq!(done.execute(db.pool()).await.unwrap().rows_affected(), 1);
    }
    for (n, name) in [(0, PASSWORD), (1, CredentialName::RefreshToken)] {
        let error = load(&db, &vault, n, name).await.unwrap_err();
        for part in [did(n).as_str(), user(n).as_str(), name.as_str(), "\"may\"", "another row"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        holds_no_secret(&error);
    }
    // The row of another user.
    sqlx::query("update identity.credential set user_id = $2 where did = $1")
        .bind(did(2))
        .bind(user(0))
        .execute(db.pool())
        .await
        .unwrap();
    let error = load(&db, &vault, 2, PASSWORD).await.unwrap_err();
    assert!(error.contains(&user(0)) && error.contains(&user(2)), "{error}");
    // Even asked for in that user's name.
    let stolen = credential::load(db.pool(), &vault, &user(0), &did(2), PASSWORD).await.unwrap_err();
    assert!(matches!(stolen, CredentialError::Vault { .. }), "{stolen}");
    // The same database under another environment's name.
    let other = vault_in("prod", &["may"]);
    assert!(load(&db, &other, 1, PASSWORD).await.unwrap_err().contains("another environment"));
    let missing = crate::world::vault(&["june"]);
    let error = load(&db, &missing, 1, PASSWORD).await.unwrap_err();
    assert!(error.contains("\"may\"") && error.contains("identity.key_files"), "{error}");
}

#[tokio::test]
async fn an_envelope_of_the_older_form_is_read_and_sealed_anew_when_it_is_stored() {
    let (db, made) = (database().await, made_by_node());
    link(&db, 0).await;
    let (envelope, secret) =
        (made["older"][0]["envelope"].as_str().unwrap(), made["older"][0]["secret"].as_str().unwrap());
    older_row(&db, 0, envelope).await;
    let vault = vault_with_node(&made, &["may"]);
    assert_eq!(load(&db, &vault, 0, PASSWORD).await, Ok(Some(secret.to_owned())));
    assert_eq!(key_use(&db).await, [(String::new(), 1)]);
    store(&db, &vault, 0, PASSWORD, 1).await;
    assert_eq!(key_use(&db).await, [("may".to_owned(), 1)]);
}
