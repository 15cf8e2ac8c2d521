//! SQL taken apart into words: enough to know what is text and what is not, whichever statement it stands in.

use std::io::BufRead;

use super::bytes::Bytes;
use super::{BYTES_MAX, ImportError};

/// A piece of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword, a name or a number, in lower case.
    Word(String),
    /// A name in double quotes.
    Name(String),
    /// A text; `None` when it is longer than any of ours.
    Text(Option<Vec<u8>>),
    /// Any other character.
    Sign(u8),
}

impl Token {
    pub fn is_word(&self, wanted: &str) -> bool {
        matches!(self, Token::Word(word) if word == wanted)
    }
}

pub(super) struct Lexer<R> {
    pub bytes: Bytes<R>,
    /// A backslash escapes in every text, not only in those that begin with E.
    pub backslashes: bool,
    /// Nothing of the statement was read yet.
    pub fresh: bool,
}

impl<R: BufRead> Lexer<R> {
    pub fn new(input: R) -> Self {
        Lexer { bytes: Bytes::new(input), backslashes: false, fresh: true }
    }

    /// The next piece and the line where it begins; `None` at the end of the file.
    pub fn token(&mut self) -> Result<Option<(u64, Token)>, ImportError> {
        loop {
            let line = self.bytes.line;
            let Some(byte) = self.bytes.next()? else { return Ok(None) };
            let token = match byte {
                byte if byte.is_ascii_whitespace() => continue,
                b'-' if self.bytes.peek()? == Some(b'-') => {
                    self.bytes.rest_of_line()?;
                    continue;
                }
                b'/' if self.bytes.take(b'*')? => {
                    self.comment(line)?;
                    continue;
                }
                // A command to psql, such as \connect or \restrict.
                b'\\' if self.fresh => {
                    self.bytes.rest_of_line()?;
                    continue;
                }
                b'\'' => Token::Text(self.text(line, b'\'', self.backslashes)?),
                b'"' => {
                    let name = self.text(line, b'"', false)?.unwrap_or_default();
                    Token::Name(String::from_utf8_lossy(&name).into_owned())
                }
                b'$' => self.dollar(line)?,
                byte if is_word(byte) => {
                    let word = self.word(byte)?;
                    match word.as_str() {
                        "e" if self.bytes.take(b'\'')? => Token::Text(self.text(line, b'\'', true)?),
                        _ => Token::Word(word),
                    }
                }
                sign => Token::Sign(sign),
            };
            self.fresh = token == Token::Sign(b';');
            return Ok(Some((line, token)));
        }
    }

    fn word(&mut self, first: u8) -> Result<String, ImportError> {
        let mut word = vec![first];
        while let Some(byte) = self.bytes.peek()?.filter(|byte| is_word(*byte) || *byte == b'$') {
            self.bytes.next()?;
            if word.len() < 1000 {
                word.push(byte);
            }
        }
        Ok(String::from_utf8_lossy(&word).to_lowercase())
    }

    /// Up to the closing quote, which doubled stands for itself.
    fn text(&mut self, line: u64, quote: u8, backslashes: bool) -> Result<Option<Vec<u8>>, ImportError> {
        let (mut text, mut long) = (Vec::new(), false);
        loop {
            let byte = match self.bytes.next()? {
                None => return Err(open(line, "a text")),
                Some(byte) if byte == quote => match self.bytes.take(quote)? {
                    true => quote,
                    false => return Ok((!long).then_some(text)),
                },
                Some(b'\\') if backslashes => match escaped(&mut self.bytes)? {
                    Some(byte) => byte,
                    None => return Err(open(line, "a text")),
                },
                Some(byte) => byte,
            };
            match text.len() < BYTES_MAX {
                true => text.push(byte),
                false => long = true,
            }
        }
    }

    /// `$1`, or a text between `$tag$`.
    fn dollar(&mut self, line: u64) -> Result<Token, ImportError> {
        let mut tag = vec![b'$'];
        while let Some(byte) = self.bytes.peek()?.filter(|byte| is_word(*byte)) {
            self.bytes.next()?;
            if tag.len() < 100 {
                tag.push(byte);
            }
        }
        if !self.bytes.take(b'$')? {
            return Ok(Token::Word(String::from_utf8_lossy(&tag).into_owned()));
        }
        tag.push(b'$');
        let (mut text, mut long) = (Vec::new(), false);
        loop {
            let Some(byte) = self.bytes.next()? else { return Err(open(line, "a text")) };
            text.push(byte);
            if text.ends_with(&tag) {
                text.truncate(text.len() - tag.len());
                return Ok(Token::Text((!long).then_some(text)));
            }
            if text.len() > BYTES_MAX {
                long = true;
                text.drain(..text.len() - tag.len());
            }
        }
    }

    fn comment(&mut self, line: u64) -> Result<(), ImportError> {
        let mut depth = 1;
        while depth > 0 {
            match self.bytes.next()? {
                None => return Err(open(line, "a comment")),
                Some(b'*') if self.bytes.take(b'/')? => depth -= 1,
                Some(b'/') if self.bytes.take(b'*')? => depth += 1,
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn open(line: u64, what: &str) -> ImportError {
    ImportError::Form(format!("line {line}: {what} that begins there is not closed; is the file cut off?"))
}

/// What a backslash and what follows it stand for, in texts with E and in the data of `COPY`; `None` at the end of the file.
pub(super) fn escaped<R: BufRead>(bytes: &mut Bytes<R>) -> Result<Option<u8>, ImportError> {
    let Some(byte) = bytes.next()? else { return Ok(None) };
    let digit = |byte: u8, radix: u32| char::from(byte).to_digit(radix);
    Ok(Some(match byte {
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'0'..=b'7' => {
            let mut value = u32::from(byte - b'0');
            for _ in 0..2 {
                let Some(next) = bytes.peek()?.and_then(|next| digit(next, 8)) else { break };
                bytes.next()?;
                value = 8 * value + next;
            }
            value as u8
        }
        b'x' if bytes.peek()?.is_some_and(|next| digit(next, 16).is_some()) => {
            let mut value = 0;
            for _ in 0..2 {
                let Some(next) = bytes.peek()?.and_then(|next| digit(next, 16)) else { break };
                bytes.next()?;
                value = 16 * value + next;
            }
            value as u8
        }
        other => other,
    }))
}
