//! Files as apps write them, and as they break.

use proptest::prelude::*;

use super::*;

const ANNA: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const BELA: &str = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb";
const HEAD: &str = "id,userUlid,did,handle,pdsUrl,pdsCredentials,isCustodial,createdAt,updatedAt";

/// A line for each item: `LINES USER DID custodial? envelope`, `refused LINES: why`, `note LINES: what`, `stopped: why`.
fn said(text: &str, format: Format, schema: Option<&str>) -> Vec<String> {
    let line = |item: Result<Item, ImportError>| match item {
        Ok(Item::Entry(entry)) => {
            let Entry { lines, user_id, did, handle, pds, custodial, envelope, created_at, taken_over } = *entry;
            let handle = handle.map_or("-".to_owned(), |handle| handle.to_string());
            let custodial = if custodial { "ours" } else { "own" };
            let since = created_at.map_or("-".to_owned(), |at| at.format("%FT%TZ").to_string());
            let taken = if taken_over { " taken over" } else { "" };
            let envelope = envelope.unwrap_or("-".to_owned());
            format!("{lines}: {user_id} {did} {handle} {pds} {custodial} {envelope} {since}{taken}")
        }
        Ok(Item::Refused(remark)) => format!("refused {remark}"),
        Ok(Item::Note(remark)) => format!("note {remark}"),
        Err(error) => format!("stopped: {error}"),
    };
    read(text.as_bytes(), format, schema).map(line).collect()
}

#[track_caller]
fn check(format: Format, text: &str, expected: &[&str]) {
    assert_eq!(said(text, format, None), expected);
}

#[test]
fn csv_as_psql_writes_it() {
    let text = format!(
        "{HEAD}\n\
         1,U1,{ANNA},anna.example.org,https://PDS.example.org/,\"{{\"\"v\"\":1,\"\"iv\"\":\"\"a,b\"\"}}\",t,2026-05-01 12:00:00.123,2026-05-01 12:00:00\n\
         2,U2                        ,{BELA},,https://pds.example.org,,f,2026-05-01 14:00:00+02,\n"
    );
    let expected = [
        format!(
            "line 2: U1 {ANNA} anna.example.org https://pds.example.org ours {{\"v\":1,\"iv\":\"a,b\"}} 2026-05-01T12:00:00Z"
        ),
        format!("line 3: U2 {BELA} - https://pds.example.org own - 2026-05-01T12:00:00Z"),
    ];
    check(Format::Csv, &text, &expected.each_ref().map(String::as_str));
    // As a spreadsheet writes it: a mark before the first line, other ends of lines, no end of the last.
    let other = format!("\u{feff}{}", text.trim_end().replace('\n', "\r\n"));
    check(Format::Csv, &other, &expected.each_ref().map(String::as_str));
}

#[test]
fn columns_are_found_by_name_in_either_case_and_any_order() {
    let text = format!(
        "is_custodial,pds_url,did,user_ulid,favourite_colour,take_ownership_status\n\
         true,https://pds.example.org,{ANNA},U1,green,confirmed\n"
    );
    check(
        Format::Csv,
        &text,
        &[
            "note line 1: columns that are left out: favourite_colour",
            &format!("line 2: U1 {ANNA} - https://pds.example.org ours - - taken over"),
        ],
    );
}

#[test]
fn a_bad_line_is_refused_by_its_number_and_the_rest_is_read() {
    let row = |user: &str, did: &str, pds: &str, custodial: &str, created: &str| {
        format!("1,{user},{did},,{pds},hunter2,{custodial},{created},\n")
    };
    let pds = "https://pds.example.org";
    let text = [
        format!("{HEAD}\n"),
        row("", ANNA, pds, "t", ""),
        row("U", "anna.example.org", pds, "t", ""),
        row("U", ANNA, "https://anna:hunter2@pds.example.org", "t", ""),
        row("U", ANNA, pds, "perhaps", ""),
        row("U", ANNA, pds, "t", "yesterday"),
        format!("1,U,{ANNA},not a handle,{pds},,t,,\n"),
        "1,2,3\n".to_owned(),
        "\n".to_owned(),
        format!("1,U,{ANNA},,{pds},hun\"ter2,t,,\n"),
        format!("1,U,{ANNA},,{pds},\"hunter2\"x,t,,\n"),
        format!("1,U,{ANNA},,{pds},\"a\nb\",t,,\n"),
        format!("1,U,{ANNA},,{pds},\"hunter2,t,,\n"),
        row("U", BELA, pds, "t", ""),
    ];
    let items = said(&text.concat(), Format::Csv, None);
    assert_eq!(
        items,
        [
            "refused line 2: userUlid is empty",
            "refused line 3: did is no DID",
            "refused line 4: pdsUrl is not the endpoint of a PDS, such as https://pds.example.org",
            "refused line 5: isCustodial is neither true nor false",
            "refused line 6: createdAt is not a time such as 2026-05-01 12:00:00",
            "refused line 7: handle is no handle",
            "refused line 8: it has 3 values for 9 columns",
            "refused line 10: a quote stands in the middle of a value",
            "refused line 11: something follows a quoted value",
            &format!("lines 12 to 13: U {ANNA} - {pds} ours a\nb -"),
            "refused lines 14 to 16: a quote that begins in it is not closed",
        ]
    );
    assert!(!items.concat().contains("hunter2"));
}

#[test]
fn a_file_that_is_none_is_told_at_once() {
    let form = "stopped: the first line does not name the columns: ";
    check(Format::Csv, "", &[&format!("{form}the file is empty")]);
    check(
        Format::Csv,
        "userUlid;did\n",
        &[&format!("{form}the columns userUlid, did, pdsUrl, isCustodial are missing; commas part them")],
    );
    check(
        Format::Csv,
        "userUlid,did,pdsUrl,isCustodial,user_ulid\n",
        &[&format!("{form}the column userUlid is there twice; commas part them")],
    );
    check(
        Format::Sql,
        "create table x (); insert into y values (1);",
        &["stopped: there is no COPY or INSERT of a table userAtprotoIdentities in it"],
    );
}

const COPY: &str = "COPY tenant_x.\"userAtprotoIdentities\" (id, \"userUlid\", did, handle, \"pdsUrl\", \
     \"pdsCredentials\", \"isCustodial\", \"createdAt\", \"updatedAt\") FROM stdin;\n";

#[test]
fn sql_as_pg_dump_writes_it() {
    let text = format!(
        "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc'def\n\nSET standard_conforming_strings = on;\n\
         SELECT pg_catalog.set_config('search_path', '', false);\n\n\
         {COPY}\
         1\tU1\t{ANNA}\t\\N\thttps://pds.example.org\t{{\"v\":1,\"iv\":\"a\\\\\\\\b\\tc\\x41\\102\"}}\tt\t2026-05-01 12:00:00\t\\N\n\
         \\.\n\n\
         INSERT INTO \"tenant_y\".\"userAtprotoIdentities\" VALUES (2, 'U''2', '{BELA}', NULL, 'https://pds.example.org', \
         '{{\"v\":1}}'::jsonb, false, E'2026-05-01\\x2012:00:00', now_is_no_literal);\n\
         INSERT INTO \"userAtprotoIdentities\" (\"userUlid\", did, \"pdsUrl\", \"isCustodial\") VALUES\n\
         \t('U3', '{ANNA}', 'https://pds.example.org', true),\n\
         \t('U;4', '{BELA}',\n 'https://pds.example.org', false)\n ON CONFLICT DO NOTHING;\n\
         \\unrestrict abc'def\n"
    );
    let pds = "https://pds.example.org";
    check(
        Format::Sql,
        &text,
        &[
            &format!("line 11: U1 {ANNA} - {pds} ours {{\"v\":1,\"iv\":\"a\\\\b\tcAB\"}} 2026-05-01T12:00:00Z"),
            "refused line 14: a value is no literal: a text in quotes, a number, true, false or null",
            &format!("line 16: U3 {ANNA} - {pds} ours - -"),
            &format!("lines 17 to 18: U;4 {BELA} - {pds} own - -"),
        ],
    );
    assert_eq!(said(&text, Format::Sql, Some("tenant_x")).len(), 1);
    let none = "stopped: there is no COPY or INSERT of a table userAtprotoIdentities of the schema \"tenant_z\" in it";
    assert_eq!(said(&text, Format::Sql, Some("tenant_z")), [none]);
}

#[test]
fn rows_without_names_of_columns_are_read_by_their_order() {
    let row = |more: &str| {
        format!(
            "INSERT INTO public.\"userAtprotoIdentities\" VALUES (1, 'U1', '{ANNA}', NULL, 'https://pds.example.org', NULL, \
             true, '2026-05-01 12:00:00', '2026-05-01 12:00:00'{more});\n"
        )
    };
    let entry = format!("line 1: U1 {ANNA} - https://pds.example.org ours - 2026-05-01T12:00:00Z");
    check(Format::Sql, &row(""), &[&entry]);
    check(Format::Sql, &row(", 'confirmed'"), &[&format!("{entry} taken over")]);
    assert!(said(&row(", NULL, 1.5"), Format::Sql, None)[0].contains("pg_dump --column-inserts"));
}

#[test]
fn texts_in_other_tables_are_no_rows_of_ours() {
    let ours = format!(
        "INSERT INTO \"userAtprotoIdentities\" (\"userUlid\", did, \"pdsUrl\", \"isCustodial\") VALUES ('U1', '{ANNA}', \
         'https://pds.example.org', true);"
    );
    let copied = COPY.replace('\n', "");
    let text = format!(
        "COPY public.events (id, text) FROM stdin;\n1\t'\n{ours}\n{copied}\n\\.\n\
         INSERT INTO events VALUES (1, 'it''s \\', '\n{ours}\n', E'a\\'\n{ours}\n');\n\
         /* {ours} /* */ {ours} */ -- {ours}\n\
         CREATE FUNCTION f() RETURNS void AS $body$\n{ours} $a$ {ours} $a$\n$body$ LANGUAGE sql;\n\
         PREPARE p AS SELECT $1, $2;\n\
         INSERT INTO \"otherUserAtprotoIdentities\" VALUES (1);\n\
         {ours}\n"
    );
    let expected = format!("line 17: U1 {ANNA} - https://pds.example.org ours - -");
    check(Format::Sql, &text, &[&expected]);
    // With the older reading of backslashes the same bytes say something else.
    let text = format!("SET standard_conforming_strings = off;\nINSERT INTO events VALUES ('\\'\n{ours} ');\n{ours}\n");
    let items = said(&text, Format::Sql, None);
    assert!(!items[0].starts_with("line 3"), "{items:?}");
}

#[test]
fn a_file_that_was_cut_off_is_told_after_what_could_be_read() {
    let row = format!("1\tU1\t{ANNA}\t\\N\thttps://pds.example.org\t\\N\tt\t\\N\t\\N\n");
    let entry = format!("line 2: U1 {ANNA} - https://pds.example.org ours - -");
    let cut = "stopped: line 1: the COPY that begins there has no end (`\\.`); is the file cut off?";
    check(Format::Sql, &format!("{COPY}{row}"), &[&entry, cut]);
    let half = format!("{COPY}{row}{}", &row[..20]);
    check(Format::Sql, &half, &[&entry, "refused line 3: it has 3 values for 9 columns", cut]);
    let text = "INSERT INTO \"userAtprotoIdentities\" VALUES (1, 'U1";
    check(Format::Sql, text, &["stopped: line 1: a text that begins there is not closed; is the file cut off?"]);
}

#[test]
fn what_is_too_long_is_refused_and_the_next_line_is_read() {
    let long = "x".repeat(BYTES_MAX + 1);
    let row = |user: &str| format!("1\t{user}\t{ANNA}\t\\N\thttps://pds.example.org\t\\N\tt\t\\N\t\\N\n");
    let text = format!("{COPY}{}{}\\.\n", row(&long), row("U2"));
    let items = said(&text, Format::Sql, None);
    assert_eq!(items[0], "refused line 2: it is longer than any line of ours");
    assert!(items[1].starts_with("line 3: U2"), "{items:?}");
    let insert = |user: &str| {
        format!(
            "INSERT INTO \"userAtprotoIdentities\" (\"userUlid\", did, \"pdsUrl\", \"isCustodial\") VALUES ('{user}', \
             '{ANNA}', 'https://pds.example.org', true);\n"
        )
    };
    let items = said(&format!("{}{}", insert(&long), insert("U2")), Format::Sql, None);
    assert_eq!(items[0], "refused line 1: a value is longer than any of ours");
    assert!(items[1].starts_with("line 2: U2"), "{items:?}");
}

proptest! {
    #[test]
    fn csv_is_read_as_it_was_written(
        texts in prop::collection::vec("[a-z\",\n\r{}: é]{1,20}", 1..20), quote_all in any::<bool>(),
    ) {
        let quoted = |text: &str| match quote_all || text.contains(['"', ',', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_owned(),
        };
        let row = |text: &String| format!("U,{ANNA},https://pds.example.org,t,{}\n", quoted(text));
        let text = format!("userUlid,did,pdsUrl,isCustodial,pdsCredentials\n{}", texts.iter().map(row).collect::<String>());
        let mut read_back = Vec::new();
        for item in read(text.as_bytes(), Format::Csv, None) {
            match item.unwrap() {
                Item::Entry(entry) => read_back.push(entry.envelope.unwrap_or_default()),
                other => panic!("{other:?}"),
            }
        }
        let texts: Vec<String> = texts.iter().map(|text| text.trim().to_owned()).collect();
        prop_assert_eq!(read_back, texts);
    }

    #[test]
    fn copied_data_is_read_as_postgres_writes_it(text in "\\PC{0,40}[\\\\\t\n\r\u{8}\u{b}\u{c}a]{0,6}.") {
        let written: String = text.chars().map(|c| match c {
            '\\' => "\\\\".to_owned(), '\t' => "\\t".to_owned(), '\n' => "\\n".to_owned(), '\r' => "\\r".to_owned(),
            '\u{8}' => "\\b".to_owned(), '\u{b}' => "\\v".to_owned(), '\u{c}' => "\\f".to_owned(), other => other.to_string(),
        }).collect();
        let values = copy::values(format!("{written}\t\\N\t").as_bytes()).unwrap();
        prop_assert_eq!(values, vec![Some(text.into_bytes()), None, Some(vec![])]);
    }

    #[test]
    fn no_file_panics_or_never_ends(
        text in "(\\PC{0,20}|COPY |INSERT INTO |\"userAtprotoIdentities\" |VALUES |\\(|\\)|,|'|\"|;|\n|\\$a\\$|FROM stdin;\n|/\\*|1|NULL){0,40}",
    ) {
        let csv = said(&format!("{HEAD}\n{text}"), Format::Csv, None);
        prop_assert!(csv.len() <= text.len() + 2);
        prop_assert!(said(&text, Format::Sql, None).len() <= text.len() + 2);
        let copied = format!("{COPY}{text}");
        prop_assert!(said(&copied, Format::Sql, None).len() <= text.len() + 2);
    }
}
