//! PutBucketNotificationConfiguration: who is told of which events, judged and kept. A configuration without an id is given one.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketNotificationConfiguration.html> and "Configuring
//! notifications with object key name filtering", Amazon S3 User Guide.

use crate::documents;
use crate::error::{Error, Result};
use crate::events::rules::webhook_of;
use crate::limits;
use crate::s3::{Service, document};
use common::Random;
use s3s::dto::{
    Event, FilterRule, FilterRuleName, NotificationConfiguration, NotificationConfigurationFilter,
    PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput,
};
use s3s::{S3Request, S3Response};

const EVENTS: [&str; 27] = [
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Post",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:ReducedRedundancyLostObject",
    "s3:Replication:*",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationReplicatedAfterThreshold",
    "s3:Replication:OperationNotTracked",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
    "s3:LifecycleTransition",
    "s3:IntelligentTiering",
    "s3:ObjectAcl:Put",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Put",
    "s3:ObjectTagging:Delete",
];

pub async fn put_bucket_notification_configuration(
    service: &Service,
    request: S3Request<PutBucketNotificationConfigurationInput>,
) -> Result<S3Response<PutBucketNotificationConfigurationOutput>> {
    document::received(&request, &request.input.notification_configuration)?;
    let mut configuration = request.input.notification_configuration;
    check(&configuration)?;
    if request.input.skip_destination_validation != Some(true) {
        check_receivers(&configuration, &service.receivers)?;
    }
    give_ids(&mut configuration, &*service.parts.random);
    // Nobody to tell is what a bucket begins with.
    let content = (configuration != NotificationConfiguration::default()).then(|| document::write(&configuration));
    let content = content.transpose()?;
    document::set(service, &request.input.bucket, documents::NOTIFICATION, content).await?;
    Ok(S3Response::new(PutBucketNotificationConfigurationOutput::default()))
}

/// Each destination is a webhook of this server. S3 asks the queues and topics themselves.
fn check_receivers(configuration: &NotificationConfiguration, receivers: &[String]) -> Result<()> {
    let queues = configuration.queue_configurations.iter().flatten().map(|it| it.queue_arn.as_str());
    let topics = configuration.topic_configurations.iter().flatten().map(|it| it.topic_arn.as_str());
    let is_known = |arn: &str| webhook_of(arn).is_some_and(|name| receivers.iter().any(|known| known == name));
    let has_lambdas = configuration.lambda_function_configurations.iter().flatten().next().is_some();
    if has_lambdas || !queues.chain(topics).all(is_known) {
        return Err(argument("Unable to validate the following destination configurations"));
    }
    Ok(())
}

fn give_ids(configuration: &mut NotificationConfiguration, random: &dyn Random) {
    let lambdas = configuration.lambda_function_configurations.iter_mut().flatten().map(|it| &mut it.id);
    let queues = configuration.queue_configurations.iter_mut().flatten().map(|it| &mut it.id);
    let topics = configuration.topic_configurations.iter_mut().flatten().map(|it| &mut it.id);
    for id in lambdas.chain(queues).chain(topics) {
        if id.as_ref().is_none_or(String::is_empty) {
            let mut bytes = [0; 18];
            random.fill(&mut bytes);
            *id = Some(hex::encode(bytes));
        }
    }
}

/// What all three kinds of destinations have.
struct Notice<'a> {
    id: Option<&'a str>,
    events: &'a [Event],
    prefix: &'a str,
    suffix: &'a str,
}

fn argument(text: impl Into<String>) -> Error {
    Error::InvalidArgument(text.into())
}

fn check(configuration: &NotificationConfiguration) -> Result<()> {
    let mut notices = Vec::new();
    for it in configuration.lambda_function_configurations.iter().flatten() {
        notices.push(notice(it.id.as_deref(), &it.lambda_function_arn, &it.events, it.filter.as_ref())?);
    }
    for it in configuration.queue_configurations.iter().flatten() {
        notices.push(notice(it.id.as_deref(), &it.queue_arn, &it.events, it.filter.as_ref())?);
    }
    for it in configuration.topic_configurations.iter().flatten() {
        notices.push(notice(it.id.as_deref(), &it.topic_arn, &it.events, it.filter.as_ref())?);
    }
    if notices.len() > limits::NOTIFICATIONS_MAX {
        let limit = limits::NOTIFICATIONS_MAX;
        return Err(argument(format!("A bucket has at most {limit} notification configurations")));
    }
    for (at, notice) in notices.iter().enumerate() {
        for earlier in &notices[..at] {
            if notice.id.is_some() && notice.id == earlier.id {
                return Err(argument("Same ID used for multiple configurations. IDs must be unique"));
            }
            if overlap(notice, earlier) {
                return Err(argument(
                    "Configurations overlap. Configurations on the same bucket cannot share a common event type.",
                ));
            }
        }
    }
    Ok(())
}

fn notice<'a>(
    id: Option<&'a str>,
    destination: &str,
    events: &'a [Event],
    filter: Option<&'a NotificationConfigurationFilter>,
) -> Result<Notice<'a>> {
    let id = id.filter(|id| !id.is_empty());
    if id.is_some_and(|id| id.chars().count() > limits::RULE_ID_CHARACTERS_MAX) {
        return Err(argument("ID length should not exceed allowed limit of 255"));
    }
    if !is_resource_name(destination) {
        return Err(argument("The ARN is not well formed"));
    }
    if events.is_empty() {
        return Err(Error::MalformedXml("A notification configuration has an Event"));
    }
    for (at, event) in events.iter().enumerate() {
        let name = event.as_ref();
        if !EVENTS.contains(&name) {
            return Err(argument(format!("The event '{name}' is not supported for notifications")));
        }
        if events[..at].iter().any(|earlier| events_overlap(earlier.as_ref(), name)) {
            return Err(argument(
                "Configurations overlap. Events of one configuration cannot share a common event type.",
            ));
        }
    }
    let (prefix, suffix) = filter_of(filter)?;
    Ok(Notice { id, events, prefix, suffix })
}

/// `arn:partition:service:region:account:resource`; what stands between the colons may be empty but for service and resource.
fn is_resource_name(name: &str) -> bool {
    let pieces: Vec<&str> = name.splitn(6, ':').collect();
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
    matches!(*pieces, ["arn", _, service, _, _, resource] if !service.is_empty() && !resource.is_empty()) && printable
}

fn filter_of(filter: Option<&NotificationConfigurationFilter>) -> Result<(&str, &str)> {
    let Some(filter) = filter else { return Ok(("", "")) };
    let Some(key) = &filter.key else { return Err(Error::MalformedXml("A Filter has an S3Key")) };
    let (mut prefix, mut suffix) = (None, None);
    for FilterRule { name, value } in key.filter_rules.iter().flatten() {
        let (Some(name), Some(value)) = (name, value) else {
            return Err(Error::MalformedXml("A FilterRule has a Name and a Value"));
        };
        let (what, kept) = match name.as_str() {
            name if name.eq_ignore_ascii_case(FilterRuleName::PREFIX) => ("prefix", &mut prefix),
            name if name.eq_ignore_ascii_case(FilterRuleName::SUFFIX) => ("suffix", &mut suffix),
            _ => return Err(argument("filter rule name must be either prefix or suffix")),
        };
        if kept.is_some() {
            return Err(argument(format!("Cannot specify more than one {what} rule in a filter.")));
        }
        if value.len() > common::ObjectKey::LENGTH_BYTES_MAX {
            return Err(argument("Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation"));
        }
        *kept = Some(value.as_str());
    }
    Ok((prefix.unwrap_or(""), suffix.unwrap_or("")))
}

fn overlap(one: &Notice<'_>, other: &Notice<'_>) -> bool {
    let prefixes = one.prefix.starts_with(other.prefix) || other.prefix.starts_with(one.prefix);
    let suffixes = one.suffix.ends_with(other.suffix) || other.suffix.ends_with(one.suffix);
    let shares = |event: &Event| other.events.iter().any(|it| events_overlap(it.as_ref(), event.as_ref()));
    prefixes && suffixes && one.events.iter().any(shares)
}

fn events_overlap(one: &str, other: &str) -> bool {
    let holds = |group: &str, event: &str| group.strip_suffix('*').is_some_and(|start| event.starts_with(start));
    one == other || holds(one, other) || holds(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::doors::SeededRandom;

    fn parse(inside: &str) -> NotificationConfiguration {
        let document = format!("<NotificationConfiguration>{inside}</NotificationConfiguration>");
        document::parse(document.as_bytes()).expect("readable")
    }

    fn code(inside: &str) -> &'static str {
        check(&parse(inside)).map_or_else(|error| error.answer().code, |()| "ok")
    }

    fn queue(more: &str) -> String {
        format!("<QueueConfiguration><Queue>arn:aws:sqs:us-east-1:1:q</Queue>{more}</QueueConfiguration>")
    }

    fn event(name: &str) -> String {
        format!("<Event>{name}</Event>")
    }

    fn filter(rules: &[(&str, &str)]) -> String {
        let rule = |(name, value): &(&str, &str)| {
            format!("<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>")
        };
        format!("<Filter><S3Key>{}</S3Key></Filter>", rules.iter().map(rule).collect::<String>())
    }

    #[test]
    fn events_and_destinations_are_known() {
        let created = event("s3:ObjectCreated:*");
        assert_eq!(code(""), "ok");
        assert_eq!(code(&queue(&created)), "ok");
        assert_eq!(code("<EventBridgeConfiguration/>"), "ok");
        let topic = "<TopicConfiguration><Topic>arn:aws:sns:us-east-1:1:t</Topic><Event>s3:ObjectRemoved:Delete</Event>\
                     </TopicConfiguration>";
        let lambda = "<CloudFunctionConfiguration><CloudFunction>arn:aws:lambda:r:1:function:f</CloudFunction>\
                      <Event>s3:ObjectTagging:*</Event></CloudFunctionConfiguration>";
        assert_eq!(code(&(queue(&created) + topic + lambda)), "ok");
        assert_eq!(code(&queue(&event("s3:ObjectCreated"))), "InvalidArgument");
        assert_eq!(code(&queue(&event("s3:ObjectCreated:Putt"))), "InvalidArgument");
        for bad in ["q", "arn:aws:sqs:us-east-1:1:", "arn:aws::r:1:q", "http://a", "arn:aws:sqs:r:1:a b"] {
            let document = queue(&created).replace("arn:aws:sqs:us-east-1:1:q", bad);
            assert_eq!(code(&document), "InvalidArgument", "{bad}");
        }
    }

    #[test]
    fn filters_have_one_prefix_and_one_suffix() {
        let with = |rules: &[(&str, &str)]| code(&queue(&(event("s3:ObjectCreated:Put") + &filter(rules))));
        assert_eq!(with(&[("prefix", "a/"), ("Suffix", ".jpg")]), "ok");
        assert_eq!(with(&[]), "ok");
        assert_eq!(with(&[("prefix", "a"), ("Prefix", "b")]), "InvalidArgument");
        assert_eq!(with(&[("suffix", "a"), ("suffix", "b")]), "InvalidArgument");
        assert_eq!(with(&[("infix", "a")]), "InvalidArgument");
        assert_eq!(with(&[("prefix", &"a".repeat(1025))]), "InvalidArgument");
        assert_eq!(code(&queue("<Event>s3:ObjectCreated:Put</Event><Filter></Filter>")), "MalformedXML");
    }

    #[test]
    fn nobody_is_told_twice() {
        let of = |name: &str, rules: &[(&str, &str)]| queue(&(event(name) + &filter(rules)));
        let overlapping = |one: String, other: String| code(&(one + &other)) == "InvalidArgument";
        let (put, all) = ("s3:ObjectCreated:Put", "s3:ObjectCreated:*");
        assert!(overlapping(of(put, &[]), of(put, &[])));
        assert!(overlapping(of(put, &[]), of(all, &[])));
        assert!(overlapping(of(put, &[("prefix", "a")]), of(all, &[("prefix", "ab")])));
        assert!(overlapping(of(put, &[("prefix", "a")]), of(all, &[("suffix", "z")])));
        assert!(!overlapping(of(put, &[("prefix", "a")]), of(all, &[("prefix", "b")])));
        assert!(!overlapping(of(put, &[("suffix", ".jpg")]), of(all, &[("suffix", ".png")])));
        assert!(!overlapping(of(put, &[]), of("s3:ObjectCreated:Copy", &[])));
        assert!(!overlapping(of("s3:ObjectRemoved:*", &[]), of(all, &[])));
        assert_eq!(code(&queue(&(event(put) + &event(all)))), "InvalidArgument");
    }

    #[test]
    fn ids_are_given_and_unique() {
        let two = |one: &str, other: &str| {
            queue(&format!("<Id>{one}</Id>{}", event("s3:ObjectCreated:*")))
                + &queue(&format!("<Id>{other}</Id>{}", event("s3:ObjectRemoved:*")))
        };
        assert_eq!(code(&two("a", "b")), "ok");
        assert_eq!(code(&two("a", "a")), "InvalidArgument");
        assert_eq!(code(&two(&"a".repeat(256), "b")), "InvalidArgument");
        let mut configuration = parse(&two("", "b"));
        assert!(check(&configuration).is_ok());
        give_ids(&mut configuration, &*SeededRandom::new(1));
        let ids: Vec<_> =
            configuration.queue_configurations.into_iter().flatten().map(|it| it.id.expect("given")).collect();
        assert_eq!((ids[0].len(), ids[1].as_str()), (36, "b"));
    }
}
