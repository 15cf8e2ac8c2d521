//! One row of `INSERT … VALUES`: literals between commas.

use std::io::BufRead;

use super::columns::Value;
use super::lexer::{Lexer, Token};
use super::{ImportError, Lines, Remark};

/// The values of a row whose opening bracket was read, or why it cannot be read. Ends behind its closing bracket.
pub(super) fn values<R: BufRead>(
    lexer: &mut Lexer<R>,
    first: u64,
) -> Result<Result<(Lines, Vec<Value>), Remark>, ImportError> {
    let (mut values, mut tokens, mut depth, mut broken) = (Vec::new(), Vec::new(), 0, None);
    loop {
        let Some((last, token)) = lexer.token()? else {
            return Err(ImportError::Form(format!("line {first}: the row that begins there does not end")));
        };
        let at_end = depth == 0 && token == Token::Sign(b')');
        if at_end || (depth == 0 && token == Token::Sign(b',')) {
            match literal(&tokens) {
                Ok(value) => values.push(value),
                Err(why) => broken = Some(why),
            }
            tokens.clear();
            if at_end {
                let lines = Lines { first, last };
                return Ok(match broken {
                    Some(why) => Err(Remark { lines, what: format!("a value {why}") }),
                    None => Ok((lines, values)),
                });
            }
            continue;
        }
        match token {
            Token::Sign(b'(') => depth += 1,
            Token::Sign(b')') => depth -= 1,
            // A row of ours has no `;` outside of its texts: the file is not what it seems.
            Token::Sign(b';') => {
                return Err(ImportError::Form(format!("line {first}: the row that begins there does not end")));
            }
            _ => {}
        }
        // A literal and its cast have a few pieces.
        if tokens.len() < 16 {
            tokens.push(token);
        }
    }
}

/// One literal, with or without a cast (`'…'::jsonb`).
fn literal(tokens: &[Token]) -> Result<Value, &'static str> {
    let cast = tokens.iter().position(|token| *token == Token::Sign(b':')).unwrap_or(tokens.len());
    match &tokens[..cast] {
        [Token::Text(Some(text))] => Ok(Some(text.clone())),
        [Token::Text(None)] => Err("is longer than any of ours"),
        [Token::Word(word)] if word == "null" => Ok(None),
        [Token::Word(word)] if word == "true" || word == "false" || word.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(Some(word.clone().into_bytes()))
        }
        tokens if !tokens.is_empty() && tokens.iter().all(of_number) => Ok(Some(b"number".to_vec())),
        _ => Err("is no literal: a text in quotes, a number, true, false or null"),
    }
}

/// A piece of a number that is no count: no column of ours holds one, so its value does not matter.
fn of_number(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.bytes().all(|b| b.is_ascii_digit()),
        Token::Sign(sign) => matches!(sign, b'.' | b'-'),
        _ => false,
    }
}
