//! The next token of a family.

use crate::claims::Claims;

/// How long after its end a token can be renewed: a till that was offline for a week, and a day to come back. Unit: s.
pub const RENEWAL_GRACE_S: i64 = 8 * 86_400;

/// Why a token is not renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRenewed {
    /// The token's end is too long ago.
    #[error("the token ended more than 8 days ago; issue another one")]
    TooLate,
    /// The chain of renewals is as long as it may be.
    #[error("the token's family was begun too long ago to be renewed; issue another one")]
    FamilyEnded,
}

/// What the next token says: the same bearer and family, for as long again, but not beyond `family_s_max` after the
/// first token of the family.
///
/// # Errors
/// When the token's time, or that of its family, is over.
pub fn renew(
    claims: &Claims,
    jti: String,
    now_s: i64,
    family_s_max: i64,
) -> Result<Claims, NotRenewed> {
    if now_s >= claims.exp.saturating_add(RENEWAL_GRACE_S) {
        return Err(NotRenewed::TooLate);
    }
    let ends_s = claims.authenticated_at().saturating_add(family_s_max);
    if now_s >= ends_s {
        return Err(NotRenewed::FamilyEnded);
    }
    // A clock that was set back must not make a token that was issued before its family.
    let iat = now_s.max(claims.authenticated_at());
    Ok(Claims {
        jti,
        fam: Some(claims.family().to_owned()),
        iat,
        auth_time: Some(claims.authenticated_at()),
        nbf: None,
        exp: ends_s
            .min(iat.saturating_add(claims.exp - claims.iat))
            .max(iat + 1),
        ..claims.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::AUDIENCE;

    const DAY_S: i64 = 86_400;
    const YEAR_S: i64 = 400 * DAY_S;

    fn first() -> Claims {
        Claims {
            aud: AUDIENCE.to_owned(),
            store: "s".to_owned(),
            terminal: Some("t".to_owned()),
            cohort: Some("c".to_owned()),
            jti: "first".to_owned(),
            fam: None,
            iat: DAY_S,
            auth_time: None,
            nbf: Some(DAY_S),
            exp: 31 * DAY_S,
        }
    }

    #[test]
    fn a_renewed_token_has_the_same_bearer_family_and_life() {
        let second = renew(&first(), "second".to_owned(), 38 * DAY_S, YEAR_S).unwrap();
        assert_eq!(
            (second.family(), second.authenticated_at()),
            ("first", DAY_S)
        );
        assert_eq!((second.iat, second.exp), (38 * DAY_S, 68 * DAY_S));
        assert_eq!(
            (&*second.store, second.terminal.as_deref()),
            ("s", Some("t"))
        );
        assert!(second.are_well_formed());
        let third = renew(&second, "third".to_owned(), 39 * DAY_S, YEAR_S).unwrap();
        assert_eq!((third.family(), third.authenticated_at()), ("first", DAY_S));
    }

    #[test]
    fn eight_days_after_its_end_a_token_is_of_no_use() {
        let at = |now_s| renew(&first(), "n".to_owned(), now_s, YEAR_S).map(|claims| claims.exp);
        assert!(at(39 * DAY_S - 1).is_ok());
        assert_eq!(at(39 * DAY_S), Err(NotRenewed::TooLate));
    }

    #[test]
    fn a_chain_of_renewals_ends_with_its_family() {
        let (mut claims, mut now_s, mut renewals) = (first(), DAY_S, 0);
        let ended = loop {
            now_s += 20 * DAY_S;
            match renew(&claims, "n".to_owned(), now_s, YEAR_S) {
                Ok(next) => claims = next,
                Err(why) => break why,
            }
            assert!(claims.are_well_formed() && claims.exp <= DAY_S + YEAR_S);
            renewals += 1;
        };
        assert_eq!((ended, renewals), (NotRenewed::FamilyEnded, 19));
    }
}
