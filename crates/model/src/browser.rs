//! Which browser a terminal runs: its family and major version, and nothing else of what a user agent says.

/// The tag of a browser in a journal record.
pub(crate) const TAG_BROWSER: u8 = 0x83;
/// The bytes of a user agent that are looked at. Common ones have 80 to 150.
const USER_AGENT_BYTES_MAX: usize = 512;

/// Families of browsers that are told apart. A code is never used for another; 0 stands for none.
const FAMILIES: [(u8, &str); 7] = [
    (1, "Chrome"),
    (2, "Edge"),
    (3, "Firefox"),
    (4, "Safari"),
    (5, "Opera"),
    (6, "Samsung Internet"),
    (7, "Electron"),
];
const CHROME: u8 = 1;
const SAFARI: u8 = 4;

/// A browser, by family and major version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Browser {
    family: u8,
    major: u16,
}

impl Browser {
    /// The browser that sends this header `User-Agent`, if it is one that is known. On iOS every browser is counted as
    /// what it calls itself, although all are Safari underneath.
    #[must_use]
    pub fn of_user_agent(text: &str) -> Option<Self> {
        // Nothing in it is told by where a character ends.
        let bytes = text.as_bytes();
        let bytes = bytes.get(..USER_AGENT_BYTES_MAX).unwrap_or(bytes);
        let (mut chromium, mut safari) = (None, None);
        for product in bytes.split(|byte| *byte == b' ') {
            let Some(slash) = product.iter().position(|byte| *byte == b'/') else {
                continue;
            };
            let (name, version) = product.split_at(slash);
            // Whoever is made of Chromium says so, too, and everybody says Safari.
            let family = match name {
                b"Edg" | b"EdgA" | b"EdgiOS" => 2,
                b"Firefox" | b"FxiOS" => 3,
                b"OPR" => 5,
                b"SamsungBrowser" => 6,
                b"Electron" => 7,
                b"Chrome" | b"HeadlessChrome" | b"CriOS" => {
                    chromium = Self::of(CHROME, version);
                    continue;
                }
                b"Version" => {
                    safari = Self::of(SAFARI, version);
                    continue;
                }
                _ => continue,
            };
            return Self::of(family, version);
        }
        chromium.or(safari)
    }

    /// A browser of this family, whose version is written behind a slash.
    fn of(family: u8, version: &[u8]) -> Option<Self> {
        let digits = version
            .iter()
            .skip(1)
            .take_while(|byte| byte.is_ascii_digit());
        let major = digits
            .take(6)
            .fold(0_u32, |major, digit| major * 10 + u32::from(digit - b'0'));
        let major = u16::try_from(major).ok().filter(|major| *major > 0)?;
        Some(Self { family, major })
    }

    /// The browser of a text that [`Browser::text`] made.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        let (name, major) = text.rsplit_once(' ')?;
        let (family, _) = FAMILIES.iter().find(|(_, known)| *known == name)?;
        let major = major.parse().ok()?;
        Some(Self {
            family: *family,
            major,
        })
    }

    /// Family and major version, as `Chrome 131`; `None`: only a later release knows the family.
    #[must_use]
    pub fn text(self) -> Option<String> {
        let (_, name) = FAMILIES.iter().find(|(code, _)| *code == self.family)?;
        Some(format!("{name} {}", self.major))
    }

    /// As it lies in a record, behind its tag and length.
    pub(crate) fn to_bytes(self) -> [u8; 3] {
        let [low, high] = self.major.to_le_bytes();
        [self.family, low, high]
    }

    pub(crate) fn of_bytes([family, low, high]: [u8; 3]) -> Self {
        let major = u16::from_le_bytes([low, high]);
        Self { family, major }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn browsers_are_known_by_what_they_send() {
        for (user_agent, browser) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
                "Chrome 131",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/149.0.0.0 Safari/537.36",
                "Chrome 149",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.86",
                "Edge 131",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
                "Firefox 133",
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
                "Safari 18",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1",
                "Chrome 131",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-T500) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/26.0 Chrome/122.0.0.0 Safari/537.36",
                "Samsung Internet 26",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 OPR/116.0.0.0",
                "Opera 116",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) pos/2.4.1 Chrome/128.0.6613.36 Electron/32.0.1 Safari/537.36",
                "Electron 32",
            ),
        ] {
            let found = Browser::of_user_agent(user_agent).unwrap();
            assert_eq!(found.text().unwrap(), browser);
            assert_eq!(Browser::of_text(browser), Some(found));
            assert_eq!(Browser::of_bytes(found.to_bytes()), found);
        }
        for other in [
            "",
            "curl/8.5.0",
            "Chrome/",
            "Chrome/x",
            "Chrome/99999999999999999999",
            "Firefox",
        ] {
            assert_eq!(Browser::of_user_agent(other), None, "{other}");
        }
        for other in ["", "Chrome", "Netscape 4", "Chrome x"] {
            assert_eq!(Browser::of_text(other), None, "{other}");
        }
        assert_eq!(Browser::of_bytes([99, 1, 0]).text(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in ".{0,600}") {
            let _browser = Browser::of_user_agent(&text);
        }
    }
}
