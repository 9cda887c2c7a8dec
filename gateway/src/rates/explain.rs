//! What the rules would say to a request, and why: for an administrator. Nothing is taken.

use super::asker::{Asker, Counted, counted};
use super::{Active, Rates};
use serde_json::{Value, json};

impl Rates {
    /// Every rule in the order in which it is asked, and the first that would refuse.
    pub fn explain(&self, asker: &Asker<'_>, cost: u32) -> Value {
        let in_force = self.in_force();
        let before = self.failures.iter().chain(&in_force.before).map(|active| (active, "address"));
        let after = in_force.after.iter().map(|active| (active, "identity"));
        let mut refused_by = None;
        let mut rules = Vec::new();
        for (active, stage) in before.chain(after) {
            let is_built_in = active.version == 0;
            let cost = match stage {
                "address" if is_built_in => super::verb::FAILED_AUTHENTICATION_COST,
                "address" => super::verb::COST,
                _ => cost,
            };
            let told = self.explained(active, asker, cost);
            if told["decision"] == "refuse" && refused_by.is_none() {
                refused_by = Some(active.rule.name.clone());
            }
            let mut rule = json!({ "name": active.rule.name, "stage": stage, "built_in": is_built_in });
            if let (Some(rule), Value::Object(told)) = (rule.as_object_mut(), told) {
                rule.extend(told);
            }
            rules.push(rule);
        }
        json!({
            "verb": asker.verb.name(),
            "cost": cost,
            "decision": if refused_by.is_some() { "refuse" } else { "pass" },
            "refused_by": refused_by,
            "rules": rules,
        })
    }

    fn explained(&self, active: &Active, asker: &Asker<'_>, cost: u32) -> Value {
        let counted = match counted(&active.rule, asker) {
            Ok(counted) => counted,
            Err(miss) => return json!({ "applies": false, "reason": miss.sentence() }),
        };
        let mut told = json!({ "applies": true, "counted": described(&counted), "dry_run": active.rule.dry_run });
        for (name, bytes) in [("bandwidth_in", active.rule.bytes_in), ("bandwidth_out", active.rule.bytes_out)] {
            if let Some(bytes) = bytes {
                told[name] = json!(bytes);
            }
        }
        let Some(limiter) = &active.limiter else { return told };
        let left = limiter.left(self.place(active, &counted), self.clock.now_ns());
        // A first attempt leaves something for repetitions.
        let leave = if asker.is_repetition() || active.version == 0 { 0 } else { limiter.kept() };
        let passes = left >= f64::from(cost + leave);
        let decision = match (passes, active.rule.dry_run) {
            (true, _) => "pass",
            (false, true) => "would_refuse",
            (false, false) => "refuse",
        };
        told["rate"] = json!(active.rule.rate);
        told["burst"] = json!(active.rule.burst);
        told["left"] = json!((left * 10.0).round() / 10.0);
        told["decision"] = json!(decision);
        told
    }
}

fn described(counted: &Counted<'_>) -> String {
    match counted {
        Counted::Key(key) => format!("key {key}"),
        Counted::Principal(id) => format!("principal {id}"),
        Counted::Bucket(bucket) => format!("bucket {bucket}"),
        Counted::Tenant(tenant) => format!("tenant {tenant}"),
        Counted::Address(address) => format!("address {address}"),
        Counted::Node => "node".to_owned(),
    }
}
