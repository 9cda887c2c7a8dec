//! Owners, which are accounts, and their access keys.

use super::{following, owner_must_exist, text_must_fit};
use crate::command::Applied;
use crate::error::{Error, Result};
use crate::iam::{Account, Iam};
use crate::limits;
use crate::state::{AccessKey, Owner, State};
use common::{AccessKeyId, OwnerId, sigv4};
use std::sync::Arc;

const NUMBER_DIGITS: usize = 12;

pub fn put_owner(state: &State, owner: &Owner) -> Result<(State, Applied)> {
    text_must_fit("an owner's id", &owner.id.0)?;
    text_must_fit("a display name", &owner.display_name)?;
    if let Some(email) = &owner.email {
        text_must_fit("an e-mail address", email)?;
    }
    if state.owners.get(&owner.id).is_some_and(|known| **known == *owner) {
        return Ok((state.clone(), Applied::Nothing));
    }
    let mut next = following(state);
    Arc::make_mut(&mut next.owners).insert(owner.id.clone(), Arc::new(owner.clone()));
    add_account(&mut next.iam, &owner.id);
    Ok((next, Applied::Nothing))
}

/// The state in which every owner has an account: owners of before there were accounts get theirs, in the order of their ids.
pub(crate) fn accounts_of_owners(state: &State) -> State {
    let mut state = state.clone();
    for owner in state.owners.keys() {
        add_account(&mut state.iam, owner);
    }
    state
}

fn add_account(iam: &mut Iam, owner: &OwnerId) {
    if iam.accounts.contains_key(owner) {
        return;
    }
    let number = free_number(iam, owner);
    let account = Account { owner: owner.clone(), number, tenant: None, not_before_ms: 0 };
    Arc::make_mut(&mut iam.accounts).insert(owner.clone(), Arc::new(account));
}

/// Twelve digits of the owner's own, or twelve digits of a hash of its id; the next that nobody has, if somebody has them.
fn free_number(iam: &Iam, owner: &OwnerId) -> String {
    let is_number = owner.0.len() == NUMBER_DIGITS && owner.0.bytes().all(|byte| byte.is_ascii_digit());
    let hash = sigv4::payload_hash(owner.0.as_bytes());
    let (digits, radix) = if is_number { (owner.0.as_str(), 10) } else { (&hash[..16], 16) };
    let first = u64::from_str_radix(digits, radix).expect("digits that fit into 64 bits") % 1_000_000_000_000;
    let numbers = (first..1_000_000_000_000).chain(0..first).map(|number| format!("{number:0NUMBER_DIGITS$}"));
    let mut free = numbers.filter(|number| iam.account_of_number(number).is_none());
    free.next().expect("there are fewer than a trillion accounts")
}

pub fn create_key(state: &State, key: &AccessKey) -> Result<(State, Applied)> {
    if state.keys.contains_key(&key.id) {
        return Err(Error::KeyExists(key.id.clone()));
    }
    owner_must_exist(state, &key.owner)?;
    text_must_fit("an access key's id", &key.id.0)?;
    text_must_fit("a secret key", &key.secret)?;
    if let Some(user) = &key.user {
        if key.admin {
            return Err(Error::Invalid("the key of a user is no administrator's: leave the user out".to_owned()));
        }
        if state.iam.user(&key.owner, user).is_none() {
            return Err(Error::NoSuchEntity(format!("The user with name {user} cannot be found.")));
        }
        must_have_room(state, &key.owner, Some(user))?;
    }
    let mut next = following(state);
    Arc::make_mut(&mut next.keys).insert(key.id.clone(), Arc::new(key.clone()));
    Ok((next, Applied::Nothing))
}

/// Whether a user, or with `None` the root, may have one more key.
pub fn must_have_room(state: &State, owner: &OwnerId, user: Option<&str>) -> Result<()> {
    let keys = state.keys.values().filter(|key| key.owner == *owner && key.user.as_deref() == user);
    let limit = limits::KEYS_PER_USER_MAX;
    if keys.count() < limit { Ok(()) } else { Err(Error::LimitExceeded { what: "AccessKeysPerUser", limit }) }
}

pub fn keys_of<'s>(state: &'s State, owner: &'s OwnerId, user: &'s str) -> impl Iterator<Item = &'s Arc<AccessKey>> {
    state.keys.values().filter(move |key| key.owner == *owner && key.user.as_deref() == Some(user))
}

pub fn delete_key(state: &State, id: &AccessKeyId) -> Result<(State, Applied)> {
    let key = state.keys.get(id).ok_or_else(|| Error::NoSuchKey(id.clone()))?;
    another_must_administer(state, key)?;
    let mut next = following(state);
    Arc::make_mut(&mut next.keys).remove(id);
    Ok((next, Applied::Nothing))
}

pub fn set_key_active(state: &State, id: &AccessKeyId, active: bool) -> Result<(State, Applied)> {
    let key = state.keys.get(id).ok_or_else(|| Error::NoSuchKey(id.clone()))?;
    if key.active == active {
        return Ok((state.clone(), Applied::Nothing));
    }
    if !active {
        another_must_administer(state, key)?;
    }
    let mut next = following(state);
    Arc::make_mut(&mut next.keys).insert(id.clone(), Arc::new(AccessKey { active, ..AccessKey::clone(key) }));
    Ok((next, Applied::Nothing))
}

/// Without an administrator nobody could make a key again.
fn another_must_administer(state: &State, key: &AccessKey) -> Result<()> {
    let administers = |key: &AccessKey| key.admin && key.active;
    let another = state.keys.values().any(|other| other.id != key.id && administers(other));
    if administers(key) && !another { Err(Error::LastAdminKey(key.id.clone())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(id: &str) -> Owner {
        Owner { id: OwnerId(id.into()), display_name: id.into(), email: None }
    }

    fn number<'s>(state: &'s State, id: &str) -> &'s str {
        &state.iam.accounts[&OwnerId(id.into())].number
    }

    #[test]
    fn every_owner_has_a_number_of_its_own() {
        let put = |state: &State, id: &str| put_owner(state, &owner(id)).unwrap().0;
        let state = put(&put(&State::default(), "123456789012"), "ann");
        assert_eq!((number(&state, "123456789012"), number(&state, "ann")), ("123456789012", "648421453870"));
        // Taken before its owner came: the next one.
        let state = put(&put(&State::default(), "648421453870"), "ann");
        assert_eq!(number(&state, "ann"), "648421453871");
        let last = put(&put(&State::default(), "999999999999"), "ann");
        let (again, _) = put_owner(&last, &Owner { display_name: "Ann".into(), ..owner("ann") }).unwrap();
        assert_eq!(number(&again, "ann"), number(&last, "ann"));

        let mut older = state.clone();
        older.iam = Iam::default();
        let opened = accounts_of_owners(&older);
        assert_eq!((opened.iam, opened.version), (state.iam, state.version));
    }
}
