//! What the program around the engine calls things.

/// Names that come in from the program: the engine has none of its own, so that its files, its answers
/// and its messages speak of the program that a person started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// The program. Clients see it as the server's name, and the files that are made beside the engine's
    /// own begin with it: `PROGRAM.lock`, `PROGRAM.config.xml`, `PROGRAM.users.xml`.
    pub program: &'static str,
    /// The line on standard output that says where the front listens begins with this; a URL follows.
    pub announcement: &'static str,
    /// The variable that names the library's file.
    pub library_variable: &'static str,
    /// The variable that carries the password, so that the password is in no command line.
    pub password_variable: &'static str,
    /// How the program can do without the library, as an error says it after "or".
    pub without_library: &'static str,
}

impl Names {
    /// The name of a file beside the engine's own.
    pub(super) fn file(&self, ending: &str) -> String {
        format!("{}.{ending}", self.program)
    }

    /// Names for tests.
    #[cfg(test)]
    pub(super) const TEST: &'static Self = &Self {
        program: "program",
        announcement: "ready ",
        library_variable: "PROGRAM_LIBRARY",
        password_variable: "PROGRAM_PASSWORD",
        without_library: "use a server",
    };
}
