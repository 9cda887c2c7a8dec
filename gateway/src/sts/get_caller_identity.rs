//! GetCallerIdentity: who has signed. Nobody needs a permission for it, and none can be denied.
//!
//! Source: <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>

use crate::query_api::{Call, Refusal, Reply, Xml};

pub fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let caller = call.identity.caller().ok_or_else(Refusal::missing_token)?;
    let mut xml = Xml::default();
    xml.text("Arn", &caller.arn());
    xml.text("UserId", &caller.user_id());
    xml.text("Account", &caller.account);
    Ok(Some(xml))
}
