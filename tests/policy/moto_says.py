"""Answers lines: what moto's evaluator of policies says to a policy and a question. `authn/tests/differential.rs` asks."""

import json
import sys

from moto.iam.access_control import IAMPolicy, PermissionResult

SAYS = {
    PermissionResult.PERMITTED: "Allow",
    PermissionResult.DENIED: "Deny",
    PermissionResult.NEUTRAL: "Nothing",
}


def answer(question):
    try:
        policy = IAMPolicy(json.dumps(question["policy"]))
        result = policy.is_action_permitted(
            question["action"], question["resource"], question["principal"], question["context"]
        )
        return SAYS[result]
    except Exception as error:  # whatever it fails at is an answer: the test wants a cause for it
        return f"{type(error).__name__}: {error}"


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
