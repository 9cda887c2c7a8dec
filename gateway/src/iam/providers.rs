//! Issuers of web identities that the account trusts.

use super::{Action, tags};
use crate::query_api::{Refusal, Reply, Xml};
use cluster::iam::{OidcProvider, in_account};
use cluster::{IamChange, Tagged};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Action<'_> {
    pub async fn create_provider(&self) -> Result<Reply, Refusal> {
        let url = self.form.required("Url")?;
        check_url(url)?;
        let provider = OidcProvider {
            account: self.owner().clone(),
            url: url.to_owned(),
            client_ids: self.texts("ClientIDList")?,
            thumbprints: self.texts("ThumbprintList")?,
            created_ms: self.call.now_ms,
            not_before_ms: 0,
            tags: self.new_tags()?,
        };
        let arn = provider.arn(self.number());
        self.authorize(&arn)?;
        self.change(IamChange::CreateProvider(provider.clone())).await?;
        let mut xml = Xml::default();
        xml.text("OpenIDConnectProviderArn", &arn);
        tags(&mut xml, &provider.tags);
        Ok(Some(xml))
    }

    pub fn get_provider(&self) -> Result<Reply, Refusal> {
        let provider = self.provider()?;
        let mut xml = Xml::default();
        xml.text("Url", provider.host_and_path());
        xml.texts("ClientIDList", provider.client_ids.iter().map(String::as_str));
        xml.texts("ThumbprintList", provider.thumbprints.iter().map(String::as_str));
        xml.date("CreateDate", provider.created_ms);
        tags(&mut xml, &provider.tags);
        Ok(Some(xml))
    }

    pub fn list_providers(&self) -> Result<Reply, Refusal> {
        self.authorize(&format!("arn:aws:iam::{}:oidc-provider/*", self.number()))?;
        let mut xml = Xml::default();
        xml.members(
            "OpenIDConnectProviderList",
            in_account(&self.state.iam.providers, self.owner()),
            |member, provider| {
                member.text("Arn", &provider.arn(self.number()));
            },
        );
        Ok(Some(xml))
    }

    pub async fn delete_provider(&self) -> Result<Reply, Refusal> {
        let provider = self.provider()?;
        self.change(IamChange::DeleteProvider(provider.host_and_path().to_owned())).await?;
        Ok(None)
    }

    pub async fn set_client_id(&self, known: bool) -> Result<Reply, Refusal> {
        let provider = self.provider()?.host_and_path().to_owned();
        let client_id = self.form.required("ClientID")?.to_owned();
        self.change(IamChange::SetClientId { provider, client_id, known }).await?;
        Ok(None)
    }

    pub async fn update_thumbprints(&self) -> Result<Reply, Refusal> {
        let provider = self.provider()?.host_and_path().to_owned();
        let thumbprints = self.texts("ThumbprintList")?;
        self.change(IamChange::SetThumbprints { provider, thumbprints }).await?;
        Ok(None)
    }

    pub async fn tag_provider(&self) -> Result<Reply, Refusal> {
        let set = self.new_tags()?;
        self.set_tags(Tagged::Provider(self.provider()?.host_and_path().to_owned()), set).await
    }

    pub async fn untag_provider(&self) -> Result<Reply, Refusal> {
        let remove = self.old_tags()?;
        self.remove_tags(Tagged::Provider(self.provider()?.host_and_path().to_owned()), remove).await
    }

    pub fn list_provider_tags(&self) -> Result<Reply, Refusal> {
        self.page_of_tags(&self.provider()?.tags)
    }

    fn provider(&self) -> Result<Arc<OidcProvider>, Refusal> {
        let arn = self.form.required("OpenIDConnectProviderArn")?;
        if !arn.starts_with("arn:aws:iam::") {
            return Err(Refusal::invalid_input(format!("Invalid ARN: {arn}")));
        }
        let url = arn.split_once(":oidc-provider/").map(|(_, url)| url);
        let found = url.and_then(|url| self.state.iam.provider(self.owner(), url));
        let found = found.filter(|provider| provider.arn(self.number()) == arn).cloned();
        self.authorize_tagged(arn, &[], found.as_ref().map(|provider| &provider.tags))?;
        found.ok_or_else(|| Refusal::no_such_entity(format!("OpenIDConnect Provider not found for arn {arn}")))
    }

    fn texts(&self, parameter: &str) -> Result<BTreeSet<String>, Refusal> {
        Ok(self.form.list(parameter)?.into_iter().map(str::to_owned).collect())
    }
}

/// HTTPS, or an issuer on this machine.
fn check_url(url: &str) -> Result<(), Refusal> {
    let parsed = url.parse::<http::Uri>().ok().filter(|uri| uri.query().is_none() && !url.contains(['@', '#']));
    let scheme_and_host = parsed.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.host()?)));
    match scheme_and_host {
        Some(("https", _)) | Some(("http", "127.0.0.1" | "localhost" | "[::1]")) => Ok(()),
        Some(("http", _)) => {
            Err(Refusal::invalid_input("Invalid Open ID Connect Provider URL: it begins with https://"))
        }
        _ => Err(Refusal::invalid_input("Invalid Open ID Connect Provider URL")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_https_or_at_home() {
        for good in
            ["https://issuer.example", "https://issuer.example/a/b", "http://127.0.0.1:8080/x", "http://localhost"]
        {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "issuer.example",
            "http://issuer.example",
            "https://a?b",
            "https://u@h",
            "ftp://h",
            "https://h#f",
            "https://",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
