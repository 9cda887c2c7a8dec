//! PutBucketLifecycleConfiguration: the whole grammar of rules, judged here and nowhere else. A rule without an id is given one.
//! S3's thirty days before a transition to infrequent access are its tariff, and not asked for.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html> and "Lifecycle configuration
//! elements", Amazon S3 User Guide.

use crate::documents;
use crate::error::{Error, Result};
use crate::limits;
use crate::s3::put_bucket_tagging::check_tag;
use crate::s3::{Service, dates, document};
use cluster::Bucket;
use common::Random;
use s3s::dto::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleAndOperator,
    NoncurrentVersionExpiration, NoncurrentVersionTransition, PutBucketLifecycleConfigurationInput,
    PutBucketLifecycleConfigurationOutput, Tag, Timestamp, Transition, TransitionDefaultMinimumObjectSize,
    TransitionStorageClass,
};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_lifecycle_configuration(
    service: &Service,
    mut request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let Some(mut configuration) = request.input.lifecycle_configuration.take() else {
        return Err(Error::MalformedXml("The document is missing"));
    };
    document::received(&request, &configuration)?;
    check(&configuration)?;
    let minimum = request.input.transition_default_minimum_object_size;
    let known = [
        TransitionDefaultMinimumObjectSize::ALL_STORAGE_CLASSES_128K,
        TransitionDefaultMinimumObjectSize::VARIES_BY_STORAGE_CLASS,
    ];
    if let Some(minimum) = minimum.as_ref().filter(|minimum| !known.contains(&minimum.as_str())) {
        let value = minimum.as_str();
        return Err(Error::InvalidRequest(format!("x-amz-transition-default-minimum-object-size cannot be {value}")));
    }
    give_ids(&mut configuration.rules, &*service.parts.random);

    let changes: document::Changes = [
        (documents::LIFECYCLE.to_owned(), Some(document::write(&configuration)?)),
        (documents::LIFECYCLE_MINIMUM.to_owned(), minimum.as_ref().map(|minimum| minimum.as_str().into())),
    ]
    .into();
    document::change(service, &request.input.bucket, move |_| Ok(changes.clone())).await?;
    let minimum = minimum.unwrap_or_else(default_minimum);
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput { transition_default_minimum_object_size: Some(minimum) }))
}

/// What came with the bucket's rules, else S3's default.
pub fn minimum_object_size(bucket: &Bucket) -> TransitionDefaultMinimumObjectSize {
    let kept = bucket.documents.get(documents::LIFECYCLE_MINIMUM);
    let kept = kept.and_then(|kept| std::str::from_utf8(kept).ok()).map(str::to_owned);
    kept.map_or_else(default_minimum, TransitionDefaultMinimumObjectSize::from)
}

fn default_minimum() -> TransitionDefaultMinimumObjectSize {
    TransitionDefaultMinimumObjectSize::from_static(TransitionDefaultMinimumObjectSize::ALL_STORAGE_CLASSES_128K)
}

fn give_ids(rules: &mut [LifecycleRule], random: &dyn Random) {
    for rule in rules {
        if rule.id.as_ref().is_none_or(String::is_empty) {
            let mut id = [0; 24];
            random.fill(&mut id);
            rule.id = Some(hex::encode(id));
        }
    }
}

fn argument(text: &str) -> Error {
    Error::InvalidArgument(text.to_owned())
}

fn request(text: &str) -> Error {
    Error::InvalidRequest(text.to_owned())
}

fn check(configuration: &BucketLifecycleConfiguration) -> Result<()> {
    let rules = &configuration.rules;
    if rules.is_empty() || rules.len() > limits::LIFECYCLE_RULES_MAX {
        return Err(Error::MalformedXml("The configuration has no rules, or more than 1000"));
    }
    let mut ids: Vec<&str> = rules.iter().filter_map(|rule| rule.id.as_deref()).filter(|id| !id.is_empty()).collect();
    if ids.iter().any(|id| id.chars().count() > limits::RULE_ID_CHARACTERS_MAX) {
        return Err(argument("ID length should not exceed allowed limit of 255"));
    }
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(argument("Rule ID must be unique. Found same ID for more than one rule"));
    }
    rules.iter().try_for_each(check_rule)
}

fn check_rule(rule: &LifecycleRule) -> Result<()> {
    if ![ExpirationStatus::ENABLED, ExpirationStatus::DISABLED].contains(&rule.status.as_str()) {
        return Err(Error::MalformedXml("Status is Enabled or Disabled"));
    }
    let scope = scope(rule)?;
    let transitions = rule.transitions.as_deref().unwrap_or_default();
    let noncurrent_transitions = rule.noncurrent_version_transitions.as_deref().unwrap_or_default();
    let does_something = rule.expiration.is_some()
        || rule.noncurrent_version_expiration.is_some()
        || rule.abort_incomplete_multipart_upload.is_some()
        || !transitions.is_empty()
        || !noncurrent_transitions.is_empty();
    if !does_something {
        return Err(request("At least one action needs to be specified in a rule"));
    }

    if let Some(abort) = &rule.abort_incomplete_multipart_upload {
        if scope.has_tags || scope.has_sizes {
            return Err(request("AbortIncompleteMultipartUpload cannot be specified with Tags or object sizes"));
        }
        match abort.days_after_initiation {
            None => return Err(Error::MalformedXml("AbortIncompleteMultipartUpload has DaysAfterInitiation")),
            Some(days) if days < 1 => {
                return Err(argument(
                    "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
                ));
            }
            Some(_) => {}
        }
    }
    if let Some(expiration) = &rule.expiration {
        check_expiration(expiration, &scope)?;
    }
    check_transitions(transitions)?;
    check_together(rule.expiration.as_ref(), transitions)?;
    if let Some(expiration) = &rule.noncurrent_version_expiration {
        check_noncurrent_expiration(expiration)?;
    }
    check_noncurrent_transitions(noncurrent_transitions)
}

/// What a rule's filter speaks of, as far as actions have to know.
#[derive(Default)]
struct Scope {
    has_tags: bool,
    has_sizes: bool,
}

fn scope(rule: &LifecycleRule) -> Result<Scope> {
    let (prefix, filter) = match (&rule.prefix, &rule.filter) {
        (Some(prefix), None) => (prefix, None),
        (None, Some(filter)) => (filter.prefix.as_ref().unwrap_or(const { &String::new() }), Some(filter)),
        _ => return Err(Error::MalformedXml("A rule has either a Filter or a Prefix")),
    };
    check_prefix(prefix)?;
    let Some(filter) = filter else { return Ok(Scope::default()) };
    // An empty prefix beside something else says nothing.
    let said = [
        !prefix.is_empty(),
        filter.tag.is_some(),
        filter.object_size_greater_than.is_some(),
        filter.object_size_less_than.is_some(),
        filter.and.is_some(),
    ];
    if said.into_iter().filter(|said| *said).count() > 1 {
        return Err(Error::MalformedXml("A Filter has one condition, or an And with several"));
    }
    if let Some(tag) = &filter.tag {
        check_tag(tag)?;
    }
    check_sizes(filter.object_size_greater_than, filter.object_size_less_than)?;
    let mut scope = Scope {
        has_tags: filter.tag.is_some(),
        has_sizes: filter.object_size_greater_than.is_some() || filter.object_size_less_than.is_some(),
    };
    if let Some(and) = &filter.and {
        let inside = check_and(and)?;
        scope = Scope { has_tags: inside.has_tags, has_sizes: inside.has_sizes };
    }
    Ok(scope)
}

fn check_and(and: &LifecycleRuleAndOperator) -> Result<Scope> {
    let tags: &[Tag] = and.tags.as_deref().unwrap_or_default();
    let sizes = [and.object_size_greater_than, and.object_size_less_than];
    let conditions =
        usize::from(and.prefix.is_some()) + tags.len() + sizes.iter().filter(|size| size.is_some()).count();
    if conditions < 2 {
        return Err(Error::MalformedXml("An And has at least two conditions"));
    }
    check_prefix(and.prefix.as_deref().unwrap_or(""))?;
    for (at, tag) in tags.iter().enumerate() {
        check_tag(tag)?;
        if tags[..at].iter().any(|earlier| earlier.key == tag.key) {
            return Err(request("Duplicate Tag Keys are not allowed."));
        }
    }
    check_sizes(and.object_size_greater_than, and.object_size_less_than)?;
    Ok(Scope { has_tags: !tags.is_empty(), has_sizes: sizes.iter().any(Option::is_some) })
}

fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.len() > common::ObjectKey::LENGTH_BYTES_MAX {
        return Err(request("The maximum size of a prefix is 1024."));
    }
    Ok(())
}

fn check_sizes(greater_than: Option<i64>, less_than: Option<i64>) -> Result<()> {
    if greater_than.is_some_and(|bytes| bytes < 0) {
        return Err(argument("'ObjectSizeGreaterThan' must not be negative"));
    }
    if less_than.is_some_and(|bytes| bytes < 1) {
        return Err(argument("'ObjectSizeLessThan' must be a positive integer"));
    }
    match (greater_than, less_than) {
        (Some(least), Some(most)) if least >= most => {
            Err(request("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'."))
        }
        _ => Ok(()),
    }
}

fn check_expiration(expiration: &LifecycleExpiration, scope: &Scope) -> Result<()> {
    match (expiration.days, &expiration.date, expiration.expired_object_delete_marker) {
        (Some(days), None, None) if days < 1 => {
            Err(argument("'Days' for Expiration action must be a positive integer"))
        }
        (Some(_), None, None) => Ok(()),
        (None, Some(date), None) => check_midnight(date),
        (None, None, Some(_)) if scope.has_tags || scope.has_sizes => {
            Err(request("ExpiredObjectDeleteMarker cannot be specified with Tags or object sizes"))
        }
        (None, None, Some(_)) => Ok(()),
        _ => Err(Error::MalformedXml("An Expiration has one of Days, Date and ExpiredObjectDeleteMarker")),
    }
}

fn check_midnight(date: &Timestamp) -> Result<()> {
    const DAY_SECONDS: i64 = 24 * 60 * 60;
    if dates::seconds(date) % DAY_SECONDS == 0 && dates::is_whole_second(date) {
        Ok(())
    } else {
        Err(argument("'Date' must be at midnight GMT"))
    }
}

fn check_storage_class(class: Option<&TransitionStorageClass>) -> Result<&str> {
    use TransitionStorageClass as C;
    let known = [C::GLACIER, C::STANDARD_IA, C::ONEZONE_IA, C::INTELLIGENT_TIERING, C::DEEP_ARCHIVE, C::GLACIER_IR];
    match class.map(TransitionStorageClass::as_str) {
        Some(class) if known.contains(&class) => Ok(class),
        _ => Err(Error::MalformedXml("A transition has a known StorageClass")),
    }
}

fn check_transitions(transitions: &[Transition]) -> Result<()> {
    let mut classes = Vec::new();
    for Transition { date, days, storage_class } in transitions {
        match (days, date) {
            (Some(days), None) if *days < 0 => {
                return Err(argument("'Days' in Transition action must not be negative"));
            }
            (Some(_), None) => {}
            (None, Some(date)) => check_midnight(date)?,
            _ => return Err(Error::MalformedXml("A Transition has either Days or a Date")),
        }
        let class = check_storage_class(storage_class.as_ref())?;
        if classes.contains(&class) {
            return Err(request("'StorageClass' must be different for 'Transition' actions in same 'Rule'"));
        }
        classes.push(class);
    }
    Ok(())
}

/// An expiration and transitions of one rule count alike, and what is to be moved is still there.
fn check_together(expiration: Option<&LifecycleExpiration>, transitions: &[Transition]) -> Result<()> {
    let expires_days = expiration.and_then(|expiration| expiration.days);
    let expires_date = expiration.and_then(|expiration| expiration.date.as_ref());
    let counts_days = expires_days.is_some() || transitions.iter().any(|transition| transition.days.is_some());
    let counts_dates = expires_date.is_some() || transitions.iter().any(|transition| transition.date.is_some());
    if counts_days && counts_dates {
        return Err(request("Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule"));
    }
    if expires_days.is_some_and(|last| transitions.iter().any(|it| it.days.is_some_and(|days| days >= last))) {
        return Err(argument("'Days' in the Expiration action must be greater than 'Days' in the Transition action"));
    }
    if expires_date.is_some_and(|last| transitions.iter().any(|it| it.date.as_ref().is_some_and(|date| date >= last))) {
        return Err(argument("'Date' in the Expiration action must be later than 'Date' in the Transition action"));
    }
    Ok(())
}

fn check_newer_versions(count: Option<i32>) -> Result<()> {
    match count {
        Some(count) if !(1..=limits::NEWER_NONCURRENT_VERSIONS_MAX).contains(&count) => {
            Err(argument("'NewerNoncurrentVersions' must be between 1 and 100"))
        }
        _ => Ok(()),
    }
}

fn check_noncurrent_expiration(expiration: &NoncurrentVersionExpiration) -> Result<()> {
    check_newer_versions(expiration.newer_noncurrent_versions)?;
    match expiration.noncurrent_days {
        None => Err(Error::MalformedXml("A NoncurrentVersionExpiration has NoncurrentDays")),
        Some(days) if days < 1 => {
            Err(argument("'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer"))
        }
        Some(_) => Ok(()),
    }
}

fn check_noncurrent_transitions(transitions: &[NoncurrentVersionTransition]) -> Result<()> {
    let mut classes = Vec::new();
    for transition in transitions {
        check_newer_versions(transition.newer_noncurrent_versions)?;
        match transition.noncurrent_days {
            None => return Err(Error::MalformedXml("A NoncurrentVersionTransition has NoncurrentDays")),
            Some(days) if days < 0 => {
                return Err(argument("'NoncurrentDays' in NoncurrentVersionTransition action must not be negative"));
            }
            Some(_) => {}
        }
        let class = check_storage_class(transition.storage_class.as_ref())?;
        if classes.contains(&class) {
            return Err(request(
                "'StorageClass' must be different for 'NoncurrentVersionTransition' actions in same 'Rule'",
            ));
        }
        classes.push(class);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::SeededRandom;

    fn parse(rules: &str) -> BucketLifecycleConfiguration {
        let document = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
        document::parse(document.as_bytes()).expect("readable")
    }

    fn code(rules: &str) -> &'static str {
        check(&parse(rules)).map_or_else(|error| error.answer().code, |()| "ok")
    }

    /// One rule for a prefix, in the old form.
    fn rule(actions: &str) -> String {
        format!("<Rule><Prefix>a/</Prefix><Status>Enabled</Status>{actions}</Rule>")
    }

    fn filtered(filter: &str, actions: &str) -> &'static str {
        code(&format!("<Rule><Filter>{filter}</Filter><Status>Enabled</Status>{actions}</Rule>"))
    }

    const DAYS: &str = "<Expiration><Days>1</Days></Expiration>";

    #[test]
    fn rules_have_ids_states_and_actions() {
        assert_eq!(code(&rule(DAYS)), "ok");
        assert_eq!(code(&rule("")), "InvalidRequest");
        assert_eq!(
            check(&BucketLifecycleConfiguration { rules: vec![] }).expect_err("none").answer().code,
            "MalformedXML"
        );
        assert_eq!(code(&rule(DAYS).repeat(1000)), "ok");
        assert_eq!(code(&rule(DAYS).repeat(1001)), "MalformedXML");
        let named = |id: &str| rule(&format!("{DAYS}<ID>{id}</ID>"));
        assert_eq!(code(&(named("x") + &named("y") + &named("") + &named(""))), "ok");
        assert_eq!(code(&(named("x") + &named("y") + &named("x"))), "InvalidArgument");
        assert_eq!(code(&named(&"a".repeat(255))), "ok");
        assert_eq!(code(&named(&"a".repeat(256))), "InvalidArgument");
        assert_eq!(code(&rule(DAYS).replace("Enabled", "Disabled")), "ok");
        assert_eq!(code(&rule(DAYS).replace("Enabled", "enabled")), "MalformedXML");
    }

    #[test]
    fn rules_without_ids_are_given_different_ones() {
        let mut configuration = parse(&rule(DAYS).repeat(3));
        give_ids(&mut configuration.rules, &*SeededRandom::new(1));
        let ids: Vec<_> = configuration.rules.iter().map(|rule| rule.id.clone().expect("given")).collect();
        assert!(ids.iter().all(|id| id.len() == 48) && ids[0] != ids[1] && ids[1] != ids[2]);
        assert!(check(&configuration).is_ok());
    }

    #[test]
    fn filters_have_one_condition_or_an_and() {
        let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
        let other = "<Tag><Key>l</Key><Value>v</Value></Tag>";
        for good in [
            "",
            "<Prefix></Prefix>",
            "<Prefix>a</Prefix>",
            tag,
            "<ObjectSizeGreaterThan>0</ObjectSizeGreaterThan>",
            "<Prefix></Prefix><ObjectSizeLessThan>5</ObjectSizeLessThan>",
            &format!("<And><Prefix>a</Prefix>{tag}</And>"),
            &format!("<And>{tag}{other}</And>"),
            "<And><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan><ObjectSizeLessThan>2</ObjectSizeLessThan></And>",
        ] {
            assert_eq!(filtered(good, DAYS), "ok", "{good}");
        }
        for (bad, code) in [
            (format!("<Prefix>a</Prefix>{tag}"), "MalformedXML"),
            (format!("{tag}<ObjectSizeLessThan>5</ObjectSizeLessThan>"), "MalformedXML"),
            (format!("<And>{tag}</And>"), "MalformedXML"),
            ("<And/>".to_owned(), "MalformedXML"),
            (format!("<And>{tag}{tag}</And>"), "InvalidRequest"),
            ("<Tag><Key>k</Key></Tag>".to_owned(), "MalformedXML"),
            ("<Tag><Key></Key><Value>v</Value></Tag>".to_owned(), "InvalidTag"),
            ("<ObjectSizeGreaterThan>-1</ObjectSizeGreaterThan>".to_owned(), "InvalidArgument"),
            ("<ObjectSizeLessThan>0</ObjectSizeLessThan>".to_owned(), "InvalidArgument"),
            (
                "<And><ObjectSizeGreaterThan>2</ObjectSizeGreaterThan><ObjectSizeLessThan>2</ObjectSizeLessThan></And>"
                    .to_owned(),
                "InvalidRequest",
            ),
            (format!("<Prefix>{}</Prefix>", "a".repeat(1025)), "InvalidRequest"),
        ] {
            assert_eq!(filtered(&bad, DAYS), code, "{bad}");
        }
        assert_eq!(code(&format!("<Rule><Status>Enabled</Status>{DAYS}</Rule>")), "MalformedXML");
        let both = format!("<Rule><Prefix>a</Prefix><Filter/><Status>Enabled</Status>{DAYS}</Rule>");
        assert_eq!(code(&both), "MalformedXML");
    }

    #[test]
    fn expirations_say_when() {
        let expiration = |inside: &str| code(&rule(&format!("<Expiration>{inside}</Expiration>")));
        assert_eq!(expiration("<Date>2026-01-02T00:00:00Z</Date>"), "ok");
        assert_eq!(expiration("<Date>2026-01-02T02:00:00+02:00</Date>"), "ok");
        assert_eq!(expiration("<ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>"), "ok");
        assert_eq!(expiration("<Days>0</Days>"), "InvalidArgument");
        assert_eq!(expiration("<Days>-1</Days>"), "InvalidArgument");
        assert_eq!(expiration("<Date>2026-01-02T00:00:01Z</Date>"), "InvalidArgument");
        assert_eq!(expiration("<Date>2026-01-02T00:00:00.5Z</Date>"), "InvalidArgument");
        assert_eq!(expiration(""), "MalformedXML");
        assert_eq!(expiration("<Days>1</Days><Date>2026-01-02T00:00:00Z</Date>"), "MalformedXML");
        assert_eq!(
            expiration("<Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>"),
            "MalformedXML"
        );
        let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
        let marker = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
        assert_eq!(filtered(tag, marker), "InvalidRequest");
    }

    #[test]
    fn uploads_have_no_tags_and_sizes() {
        let abort = |inside: &str| format!("<AbortIncompleteMultipartUpload>{inside}</AbortIncompleteMultipartUpload>");
        let days = abort("<DaysAfterInitiation>1</DaysAfterInitiation>");
        assert_eq!(code(&rule(&days)), "ok");
        assert_eq!(code(&rule(&abort("<DaysAfterInitiation>0</DaysAfterInitiation>"))), "InvalidArgument");
        assert_eq!(code(&rule(&abort(""))), "MalformedXML");
        assert_eq!(filtered("<ObjectSizeGreaterThan>1</ObjectSizeGreaterThan>", &days), "InvalidRequest");
        assert_eq!(filtered("<Tag><Key>k</Key><Value>v</Value></Tag>", &days), "InvalidRequest");
    }

    #[test]
    fn noncurrent_versions_have_days_and_a_count() {
        let expiration =
            |inside: &str| code(&rule(&format!("<NoncurrentVersionExpiration>{inside}</NoncurrentVersionExpiration>")));
        let count = |count: i32| {
            expiration(&format!(
                "<NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>{count}</NewerNoncurrentVersions>"
            ))
        };
        assert_eq!(expiration("<NoncurrentDays>1</NoncurrentDays>"), "ok");
        assert_eq!(expiration("<NoncurrentDays>0</NoncurrentDays>"), "InvalidArgument");
        assert_eq!(expiration("<NewerNoncurrentVersions>1</NewerNoncurrentVersions>"), "MalformedXML");
        assert_eq!([count(0), count(1), count(100), count(101)], ["InvalidArgument", "ok", "ok", "InvalidArgument"]);
        let transition = |inside: &str| {
            format!(
                "<NoncurrentVersionTransition>{inside}<StorageClass>GLACIER</StorageClass></NoncurrentVersionTransition>"
            )
        };
        assert_eq!(code(&rule(&transition("<NoncurrentDays>0</NoncurrentDays>"))), "ok");
        assert_eq!(code(&rule(&transition("<NoncurrentDays>-1</NoncurrentDays>"))), "InvalidArgument");
        assert_eq!(code(&rule(&transition(""))), "MalformedXML");
        assert_eq!(code(&rule(&transition("<NoncurrentDays>1</NoncurrentDays>").repeat(2))), "InvalidRequest");
    }

    #[test]
    fn transitions_come_before_the_end() {
        let transition =
            |when: &str, class: &str| format!("<Transition>{when}<StorageClass>{class}</StorageClass></Transition>");
        let days = |days: i32| format!("<Days>{days}</Days>");
        let expires = |days: i32| format!("<Expiration><Days>{days}</Days></Expiration>");
        let date = "<Date>2026-01-02T00:00:00Z</Date>";
        assert_eq!(code(&rule(&(transition(&days(0), "GLACIER") + &transition(&days(3), "DEEP_ARCHIVE")))), "ok");
        assert_eq!(code(&rule(&transition(date, "STANDARD_IA"))), "ok");
        assert_eq!(code(&rule(&transition(&days(1), "STANDARD"))), "MalformedXML");
        assert_eq!(code(&rule(&transition(&days(-1), "GLACIER"))), "InvalidArgument");
        assert_eq!(code(&rule(&transition("", "GLACIER"))), "MalformedXML");
        assert_eq!(code(&rule(&transition(&(days(1) + date), "GLACIER"))), "MalformedXML");
        assert_eq!(code(&rule(&transition(&days(1), "GLACIER").repeat(2))), "InvalidRequest");
        assert_eq!(code(&rule(&(transition(date, "GLACIER") + &expires(1)))), "InvalidRequest");
        assert_eq!(code(&rule(&(transition(&days(5), "GLACIER") + &expires(5)))), "InvalidArgument");
        assert_eq!(code(&rule(&(transition(&days(5), "GLACIER") + &expires(6)))), "ok");
        let same_day = format!("<Expiration>{date}</Expiration>");
        assert_eq!(code(&rule(&(transition(date, "GLACIER") + &same_day))), "InvalidArgument");
    }
}
