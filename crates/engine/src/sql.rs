//! Reads just enough of a statement to know how to run it; the engine does the real parsing.
//!
//! The front must know four things before it calls the engine: whether data follows an `INSERT`
//! and where it begins, which format the statement names, whether the statement has an answer, and
//! whether it is one statement. Where this reader is unsure it leaves the decision to the engine.

use super::confine;
use super::error::{Exception, code};

/// How a statement is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// The statement has an answer, which is streamed: `SELECT`, `SHOW`, `DESCRIBE`, `EXPLAIN` and the like.
    Read(Read),
    /// Every other statement runs to its end and has no answer worth streaming.
    Run {
        /// The statement without its closing semicolon.
        sql: String,
    },
}

/// A statement with an answer, cut where an output can be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    /// All before `FORMAT`.
    pub(super) head: String,
    /// The format the statement names.
    pub(super) format: Option<String>,
    /// All after the format's name: a `SETTINGS` clause or nothing.
    pub(super) tail: String,
}

/// The head of an `INSERT` whose data follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Insert {
    /// The statement without `FORMAT …` or `VALUES`.
    pub(super) sql: String,
    /// The data's format.
    pub(super) format: String,
    /// Where in the text the data begins.
    pub(super) data_start: usize,
}

/// What `insert_head` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Head {
    /// Not an insert with data: the whole text is needed, see `parse`.
    Other,
    /// The text ends before the head does.
    Incomplete,
    /// An insert with data.
    Insert(Insert),
}

/// Statements that have an answer.
const READING: [&str; 9] = [
    "SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "FROM", "CHECK",
];

/// Looks for the head of an insert at the beginning of `text`; `is_whole` when no more comes.
pub(super) fn insert_head(text: &[u8], is_whole: bool) -> Head {
    let mut lexer = Lexer::new(text);
    let Some(first) = lexer.next_token() else {
        return if is_whole {
            Head::Other
        } else {
            Head::Incomplete
        };
    };
    // A word that touches the end of what has come may go on in the next piece.
    if first.end == text.len() && !is_whole {
        return Head::Incomplete;
    }
    if !first.is(text, "INSERT") {
        return Head::Other;
    }
    let mut last_end = first.end;
    while let Some(token) = lexer.next_token() {
        if token.end == text.len() && !is_whole {
            return Head::Incomplete;
        }
        if token.depth == 0 && token.kind == Kind::Word {
            if token.is(text, "VALUES") {
                return Head::Insert(Insert {
                    sql: lossless(text, 0, token.start),
                    format: "Values".to_owned(),
                    data_start: token.end,
                });
            }
            if token.is(text, "SELECT") || token.is(text, "WITH") || token.is(text, "INFILE") {
                return Head::Other;
            }
            if token.is(text, "FORMAT") {
                let before = token.start;
                let Some(name) = lexer.next_token().filter(|name| name.kind == Kind::Word) else {
                    return if is_whole {
                        Head::Other
                    } else {
                        Head::Incomplete
                    };
                };
                if name.end == text.len() && !is_whole {
                    return Head::Incomplete;
                }
                let data_start = after_format(text, name.end);
                // The one line break that belongs to the head may still be on its way.
                let has_break = text.get(data_start.wrapping_sub(1)) == Some(&b'\n');
                if data_start == text.len() && !has_break && !is_whole {
                    return Head::Incomplete;
                }
                return Head::Insert(Insert {
                    sql: lossless(text, 0, before),
                    format: lossless(text, name.start, name.end),
                    data_start,
                });
            }
        }
        if token.is_semicolon(text) {
            break;
        }
        last_end = token.end;
    }
    if !is_whole {
        return Head::Incomplete;
    }
    Head::Insert(Insert {
        sql: lossless(text, 0, last_end),
        format: "Values".to_owned(),
        data_start: text.len(),
    })
}

/// Reads a whole statement that is not an insert with data.
pub(super) fn parse(text: &str) -> Result<Statement, Exception> {
    confine::check_words(text)?;
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut lexer = Lexer::new(bytes);
    let mut semicolon = None;
    while let Some(token) = lexer.next_token() {
        if semicolon.is_some() && !token.is_semicolon(bytes) {
            return Err(Exception::new(
                code::SYNTAX_ERROR,
                "SYNTAX_ERROR",
                "Syntax error (Multi-statements are not allowed)",
            ));
        }
        if token.is_semicolon(bytes) {
            semicolon.get_or_insert(token.start);
        } else {
            tokens.push(token);
        }
    }
    let Some(first) = tokens.iter().find(|token| token.kind != Kind::Open) else {
        return Err(Exception::new(
            code::SYNTAX_ERROR,
            "SYNTAX_ERROR",
            "Empty query",
        ));
    };
    let end = tokens.last().map_or(0, |token| token.end);
    let sql = lossless(bytes, 0, end);
    if first.is(bytes, "INSERT") && takes_outside_data(&tokens, bytes) {
        // The engine would take standard input for the data, find none and report success.
        return Err(Exception::new(
            code::NOT_IMPLEMENTED,
            "NOT_IMPLEMENTED",
            "input() is not supported by the embedded engine",
        ));
    }
    if !READING.iter().any(|word| first.is(bytes, word)) {
        return Ok(Statement::Run { sql });
    }
    Ok(Statement::Read(cut_at_format(&tokens, bytes, end)))
}

/// Whether a statement with these first words changes nothing: what a `GET` may run in a session.
pub(super) fn is_harmless(statement: &Statement) -> bool {
    match statement {
        Statement::Read(_) => true,
        Statement::Run { sql } => {
            let bytes = sql.as_bytes();
            let first = Lexer::new(bytes).next_token();
            first.is_some_and(|token| token.is(bytes, "SET") || token.is(bytes, "USE"))
        }
    }
}

/// The last `FORMAT name` outside brackets, if only a `SETTINGS` clause follows it.
fn cut_at_format(tokens: &[Token], text: &[u8], end: usize) -> Read {
    let found = tokens.windows(2).enumerate().rev().find(|(index, pair)| {
        let follows = tokens.get(index + 2);
        pair[0].depth == 0
            && pair[0].is(text, "FORMAT")
            && pair[1].kind == Kind::Word
            && follows.is_none_or(|token| token.is(text, "SETTINGS"))
            // `SELECT format` is a column, not a clause.
            && *index > 0
    });
    match found {
        Some((_, pair)) => Read {
            head: lossless(text, 0, pair[0].start),
            format: Some(lossless(text, pair[1].start, pair[1].end)),
            tail: lossless(text, pair[1].end, end),
        },
        None => Read {
            head: lossless(text, 0, end),
            format: None,
            tail: String::new(),
        },
    }
}

/// Whether an insert reads `input(…)`.
fn takes_outside_data(tokens: &[Token], text: &[u8]) -> bool {
    tokens
        .windows(2)
        .any(|pair| pair[0].is(text, "input") && pair[1].kind == Kind::Open)
}

/// Data begins after the format's name, blanks and one line break, as in ClickHouse's own parser.
fn after_format(text: &[u8], name_end: usize) -> usize {
    let rest = text.get(name_end..).unwrap_or_default();
    let blanks = rest
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
        .count();
    let line_break = usize::from(rest.get(blanks) == Some(&b'\n'));
    name_end + blanks + line_break
}

fn lossless(text: &[u8], start: usize, end: usize) -> String {
    String::from_utf8_lossy(text.get(start..end).unwrap_or_default()).into_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Open,
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
    /// How many brackets are open around the token.
    depth: usize,
}

impl Token {
    fn is(&self, text: &[u8], word: &str) -> bool {
        self.kind == Kind::Word
            && text
                .get(self.start..self.end)
                .is_some_and(|own| own.eq_ignore_ascii_case(word.as_bytes()))
    }

    fn is_semicolon(&self, text: &[u8]) -> bool {
        self.depth == 0 && self.kind == Kind::Other && text.get(self.start) == Some(&b';')
    }
}

struct Lexer<'text> {
    text: &'text [u8],
    position: usize,
    depth: usize,
}

impl<'text> Lexer<'text> {
    fn new(text: &'text [u8]) -> Self {
        Self {
            text,
            position: 0,
            depth: 0,
        }
    }

    fn next_token(&mut self) -> Option<Token> {
        self.skip_blanks_and_comments();
        let start = self.position;
        let byte = *self.text.get(start)?;
        let mut kind = Kind::Other;
        let mut depth = self.depth;
        match byte {
            b'\'' | b'"' | b'`' => self.skip_quoted(byte),
            b'(' | b'[' | b'{' => {
                kind = Kind::Open;
                self.depth += 1;
                self.position += 1;
            }
            b')' | b']' | b'}' => {
                self.depth = self.depth.saturating_sub(1);
                depth = self.depth;
                self.position += 1;
            }
            b'$' if self.skip_heredoc() => {}
            _ if is_word_byte(byte) => {
                kind = Kind::Word;
                while self
                    .text
                    .get(self.position)
                    .is_some_and(|byte| is_word_byte(*byte))
                {
                    self.position += 1;
                }
            }
            _ => self.position += 1,
        }
        Some(Token {
            kind,
            start,
            end: self.position,
            depth,
        })
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = self.text.get(self.position..).unwrap_or_default();
            match rest {
                [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0b => self.position += 1,
                [b'-', b'-', ..] | [b'#', b' ' | b'!', ..] => {
                    let length = rest.iter().position(|byte| *byte == b'\n');
                    self.position += length.unwrap_or(rest.len());
                }
                [b'/', b'*', ..] => {
                    let length = rest.windows(2).skip(2).position(|pair| pair == b"*/");
                    self.position += length.map_or(rest.len(), |length| length + 4);
                }
                _ => return,
            }
        }
    }

    /// Past the closing quote; a doubled quote or a backslash does not close.
    fn skip_quoted(&mut self, quote: u8) {
        self.position += 1;
        while let Some(byte) = self.text.get(self.position) {
            self.position += 1;
            if *byte == b'\\' {
                self.position = (self.position + 1).min(self.text.len());
            } else if *byte == quote {
                if self.text.get(self.position) != Some(&quote) {
                    return;
                }
                self.position += 1;
            }
        }
    }

    /// `$tag$ … $tag$`; false when this dollar opens no heredoc.
    fn skip_heredoc(&mut self) -> bool {
        let rest = self.text.get(self.position..).unwrap_or_default();
        let name = rest
            .iter()
            .skip(1)
            .take_while(|byte| is_word_byte(**byte) && **byte != b'$');
        let tag_end = name.count() + 2;
        let Some(tag) = rest.get(..tag_end).filter(|tag| tag.ends_with(b"$")) else {
            return false;
        };
        let Some(after) = rest.get(tag_end..) else {
            return false;
        };
        match after.windows(tag.len()).position(|window| window == tag) {
            Some(offset) => {
                self.position += tag_end + offset + tag.len();
                true
            }
            None => false,
        }
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Read {
        match parse(sql).unwrap() {
            Statement::Read(read) => read,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn the_format_is_cut_out_of_a_read() {
        let cut = read("SELECT 1 FORMAT JSON SETTINGS max_threads = 1;");
        assert_eq!(cut.head, "SELECT 1 ");
        assert_eq!(cut.format.as_deref(), Some("JSON"));
        assert_eq!(cut.tail, " SETTINGS max_threads = 1");
        assert_eq!(
            read("/* FORMAT CSV */ select 'FORMAT CSV' -- FORMAT CSV").format,
            None
        );
        assert_eq!(read("SELECT format FROM (SELECT 1 AS format)").format, None);
        assert_eq!(
            read("(SELECT 1) UNION ALL (SELECT 2) format TSV")
                .format
                .as_deref(),
            Some("TSV")
        );
    }

    #[test]
    fn several_statements_are_refused() {
        assert_eq!(
            parse("SELECT 1; SELECT 2").unwrap_err().code,
            code::SYNTAX_ERROR
        );
        assert!(parse("SELECT ';' ; -- end").is_ok());
        assert_eq!(parse(" -- nothing").unwrap_err().code, code::SYNTAX_ERROR);
    }

    #[test]
    fn no_spelling_of_a_file_clause_is_let_through() {
        for sql in [
            "SELECT 1 INTO OUTFILE 'x'",
            "KILL QUERY WHERE 0 = 1 INTO OUTFILE 'x' FORMAT TSV",
            "SELECT 1 INTO\u{a0}Outfile 'x'",
            "SELECT 1 /* /* */ ' */ INTO OUTFILE 'x' -- '",
            "SELECT 1 // $a$\n INTO OUTFILE 'x' // $a$",
            "INSERT INTO t FROM\u{2003}infile 'x' FORMAT CSV",
        ] {
            assert_eq!(parse(sql).unwrap_err().code, code::NOT_IMPLEMENTED, "{sql}");
        }
        assert!(parse("SELECT {word:String}").is_ok());
    }

    #[test]
    fn an_insert_of_outside_data_is_refused() {
        for sql in [
            "INSERT INTO t SELECT a FROM input('a UInt8') FORMAT CSV",
            "INSERT INTO t FROM INFILE 'f' FORMAT CSV",
        ] {
            assert_eq!(parse(sql).unwrap_err().code, code::NOT_IMPLEMENTED, "{sql}");
        }
        assert!(parse("INSERT INTO t SELECT input FROM u").is_ok());
    }

    #[test]
    fn data_begins_after_the_format() {
        let text = b"INSERT INTO t (a, `FORMAT`) SETTINGS x = 1 FORMAT RowBinary\n\n\x00";
        let Head::Insert(insert) = insert_head(text, true) else {
            panic!()
        };
        assert_eq!(insert.sql, "INSERT INTO t (a, `FORMAT`) SETTINGS x = 1 ");
        assert_eq!(insert.format, "RowBinary");
        assert_eq!(&text[insert.data_start..], b"\n\x00");
        let text = b"insert into t values (1), (2)";
        let Head::Insert(insert) = insert_head(text, true) else {
            panic!()
        };
        assert_eq!(
            (insert.format.as_str(), &text[insert.data_start..]),
            ("Values", &b" (1), (2)"[..])
        );
    }

    #[test]
    fn a_head_is_found_however_it_is_cut() {
        let text = b"INSERT INTO t FORMAT CSV\n1,2";
        let whole = insert_head(text, true);
        for cut in 0..text.len() {
            match insert_head(&text[..cut], false) {
                Head::Incomplete => {}
                Head::Insert(insert) => assert_eq!(insert.format, "CSV", "cut at {cut}"),
                Head::Other => panic!("cut at {cut}"),
            }
        }
        assert!(matches!(whole, Head::Insert(_)));
        assert_eq!(insert_head(b"SELECT 1", true), Head::Other);
        assert_eq!(insert_head(b"INSERT INTO t SELECT 1", true), Head::Other);
    }
}
