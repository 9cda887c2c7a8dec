//! What a bucket's notification configuration says: which events go to which webhook.

use super::{Filter, Pattern};
use crate::tree::Node;

/// One configuration of a queue or topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its `Id`.
    pub id: String,
    /// The name of the webhook in this server's settings.
    pub webhook: String,
    pub filter: Filter,
}

/// The webhook that an ARN names: `arn:weir:sqs:<region or nothing>:<name>:webhook`, of a topic `sns` in place of `sqs`.
pub fn webhook_of(arn: &str) -> Option<&str> {
    let fields: Vec<&str> = arn.split(':').collect();
    match fields[..] {
        ["arn", "weir", "sqs" | "sns", _region, name, "webhook"] if !name.is_empty() => Some(name),
        _ => None,
    }
}

/// The rules of a document as it is kept. Those that name no webhook of ours are left out: they were refused when they came.
pub fn parse(document: &[u8]) -> Vec<Rule> {
    let Some(root) = Node::parse(document) else {
        tracing::error!("a notification configuration cannot be read: nobody is told");
        return Vec::new();
    };
    let queues = root.all("QueueConfiguration").map(|queue| (queue, "Queue"));
    let topics = root.all("TopicConfiguration").map(|topic| (topic, "Topic"));
    queues.chain(topics).filter_map(|(node, arn)| rule(node, arn)).collect()
}

fn rule(node: &Node, arn: &str) -> Option<Rule> {
    let webhook = webhook_of(node.text(arn)?)?.to_owned();
    let mut filter = Filter {
        patterns: node.all("Event").filter_map(|event| Pattern::parse(event.own_text())).collect(),
        ..Filter::default()
    };
    // A filter without names wants everything, and a configuration without any that we know nothing.
    if filter.patterns.is_empty() {
        return None;
    }
    for rule in
        node.child("Filter").and_then(|filter| filter.child("S3Key")).into_iter().flat_map(|key| key.all("FilterRule"))
    {
        let value = rule.text("Value").unwrap_or("").to_owned();
        match rule.text("Name").unwrap_or("").to_ascii_lowercase().as_str() {
            "prefix" => filter.prefix = value,
            "suffix" => filter.suffix = value,
            _ => {}
        }
    }
    Some(Rule { id: node.text("Id").unwrap_or("").to_owned(), webhook, filter })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_name_webhooks() {
        assert_eq!(webhook_of("arn:weir:sqs::hook:webhook"), Some("hook"));
        assert_eq!(webhook_of("arn:weir:sns:eu-west-1:hook:webhook"), Some("hook"));
        for other in
            ["arn:aws:sqs:us-east-1:444455556666:queue", "arn:weir:sqs:::webhook", "arn:weir:sqs::a:b:webhook", ""]
        {
            assert_eq!(webhook_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_document_becomes_rules() {
        let document = "<NotificationConfiguration>\
            <QueueConfiguration><Id>one</Id><Queue>arn:weir:sqs::hook:webhook</Queue><Event>s3:ObjectCreated:*</Event>\
            <Event>s3:ObjectRemoved:Delete</Event><Filter><S3Key><FilterRule><Name>Prefix</Name><Value>in/</Value></FilterRule>\
            <FilterRule><Name>suffix</Name><Value>.jpg</Value></FilterRule></S3Key></Filter></QueueConfiguration>\
            <TopicConfiguration><Topic>arn:weir:sns::other:webhook</Topic><Event>s3:LifecycleTransition</Event></TopicConfiguration>\
            <QueueConfiguration><Queue>arn:aws:sqs:us-east-1:1:q</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration>\
            </NotificationConfiguration>";
        let rules = parse(document.as_bytes());
        let names: Vec<_> = rules.iter().map(|rule| (rule.id.as_str(), rule.webhook.as_str())).collect();
        assert_eq!(names, [("one", "hook"), ("", "other")]);
        assert_eq!((rules[0].filter.prefix.as_str(), rules[0].filter.suffix.as_str()), ("in/", ".jpg"));
        assert_eq!(rules[0].filter.patterns.len(), 2);
        assert_eq!(parse(b"nonsense"), []);
    }
}
