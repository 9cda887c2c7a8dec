use super::*;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::sync::LazyLock;

const ISSUER: &str = "https://idp.example.com/realm";
const NOW_MS: u64 = 1_800_000_000_000;
const NOW: u64 = NOW_MS / 1000;

struct Keys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
    ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
    ed: Ed25519KeyPair::generate().expect("a key"),
});

fn rsa_key() -> Value {
    let public = KEYS.rsa.public_key();
    let n = BASE64.encode(public.modulus().big_endian_without_leading_zero());
    let e = BASE64.encode(public.exponent().big_endian_without_leading_zero());
    json!({"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": n, "e": e})
}

fn key_set() -> KeySet {
    let point = KEYS.ec.public_key().as_ref();
    let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..]));
    let ec = json!({"kty": "EC", "crv": "P-256", "kid": "e", "x": x, "y": y});
    let ed = json!({"kty": "OKP", "crv": "Ed25519", "kid": "d", "x": BASE64.encode(KEYS.ed.public_key())});
    let shared = json!({"kty": "oct", "kid": "o", "k": BASE64.encode(b"shared"), "alg": "HS256"});
    KeySet::parse(json!({"keys": [rsa_key(), ec, ed, shared]}).to_string().as_bytes()).expect("a key set")
}

fn claims() -> Value {
    json!({"iss": ISSUER, "sub": "ann", "aud": "weir", "exp": NOW + 600, "iat": NOW - 5, "groups": ["a", "b"], "level": 3})
}

fn sign(header: &str, payload: &str) -> String {
    let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(payload));
    let (random, bytes) = (SystemRandom::new(), message.as_bytes());
    let signature = if header.contains("ES256") {
        KEYS.ec.sign(&random, bytes).expect("signed").as_ref().to_vec()
    } else if header.contains("EdDSA") {
        KEYS.ed.sign(bytes).as_ref().to_vec()
    } else {
        let mut signature = vec![0; KEYS.rsa.public_modulus_len()];
        KEYS.rsa.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature).expect("signed");
        signature
    };
    format!("{message}.{}", BASE64.encode(signature))
}

fn token(header: Value, claims: &Value) -> String {
    sign(&header.to_string(), &claims.to_string())
}

fn rs256() -> Value {
    json!({"alg": "RS256", "kid": "r", "typ": "JWT"})
}

fn judge(text: &str) -> Result<WebIdentity, Refusal> {
    let audiences = ["weir".to_owned(), "other".to_owned()].into();
    let trust = Trust { issuer: ISSUER, audiences: Some(&audiences), not_before_ms: 0 };
    Unverified::parse(text)?.verify(&key_set(), &trust, NOW_MS)
}

fn with(name: &str, value: Value) -> Result<WebIdentity, Refusal> {
    let mut claims = claims();
    claims[name] = value;
    judge(&token(rs256(), &claims))
}

#[test]
fn three_algorithms_are_good() {
    for (algorithm, kid) in [("RS256", "r"), ("ES256", "e"), ("EdDSA", "d")] {
        for header in [json!({"alg": algorithm, "kid": kid}), json!({"alg": algorithm})] {
            let identity = judge(&token(header, &claims())).expect(algorithm);
            assert_eq!((identity.subject.as_str(), identity.issuer.as_str()), ("ann", ISSUER));
            assert_eq!(identity.expires_ms, NOW_MS + 600_000);
            let keys = condition_keys(&identity.issuer, &identity.claims);
            assert_eq!(keys["idp.example.com/realm:sub"], ["ann"]);
            assert_eq!(keys["idp.example.com/realm:aud"], ["weir"]);
            assert_eq!(keys["jwt:groups"], ["a", "b"]);
            assert_eq!(keys["jwt:level"], ["3"]);
            assert!(!keys.contains_key("jwt:exp") && !keys.contains_key("idp.example.com/realm:azp"));
        }
    }
}

#[test]
fn an_algorithm_is_that_of_its_key() {
    let none = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), BASE64.encode(claims().to_string()));
    assert_eq!(judge(&none), Err(Refusal::Malformed("no signature")));
    assert_eq!(judge(&format!("{none}AA")), Err(Refusal::Algorithm));
    for other in ["none", "None", "HS256", "HS512", "RS512", "PS256", "ES384", "", "rs256"] {
        assert_eq!(judge(&token(json!({"alg": other, "kid": "r"}), &claims())), Err(Refusal::Algorithm), "{other}");
    }
    // The public key as the shared secret of an HMAC: in PEM, as libraries were fooled with.
    let der: PublicKeyX509Der<'_> = KEYS.rsa.public_key().as_der().expect("DER");
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()));
    let secret = jsonwebtoken::EncodingKey::from_secret(pem.as_bytes());
    let message = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256","kid":"r"}"#), BASE64.encode(claims().to_string()));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, jsonwebtoken::Algorithm::HS256);
    assert_eq!(judge(&format!("{message}.{}", signature.expect("signed"))), Err(Refusal::Algorithm));
    // One key's algorithm with another's id.
    assert_eq!(judge(&token(json!({"alg": "ES256", "kid": "r"}), &claims())), Err(Refusal::Signature));
    assert_eq!(judge(&token(json!({"alg": "RS256", "kid": "o"}), &claims())), Err(Refusal::KeyUnknown));
}

#[test]
fn no_header_chooses_its_key() {
    for (name, value) in [
        ("jku", json!("https://attacker.example.com/jwks")),
        ("x5u", json!("https://attacker.example.com/cert")),
        ("jwk", rsa_key()),
    ] {
        let mut header = rs256();
        header[name] = value;
        assert_eq!(judge(&token(header, &claims())), Err(Refusal::Malformed("the header brings a key")), "{name}");
    }
    for kid in ["../../../../dev/null", "r'--", "", "R"] {
        assert_eq!(judge(&token(json!({"alg": "RS256", "kid": kid}), &claims())), Err(Refusal::KeyUnknown), "{kid}");
    }
    assert_eq!(judge(&token(json!({"alg": "RS256", "kid": 7}), &claims())), Err(Refusal::Malformed("kid")));
    let mut header = rs256();
    header["crit"] = json!(["exp"]);
    assert_eq!(judge(&token(header, &claims())), Err(Refusal::Malformed("the header asks for an extension")));
}

#[test]
fn times_have_a_leeway_of_a_minute() {
    assert!(with("exp", json!(NOW - 60)).is_ok());
    assert_eq!(with("exp", json!(NOW - 61)), Err(Refusal::Expired));
    assert!(with("nbf", json!(NOW + 60)).is_ok());
    assert_eq!(with("nbf", json!(NOW + 61)), Err(Refusal::NotYet));
    assert_eq!(with("iat", json!(NOW + 61)), Err(Refusal::NotYet));
    assert!(with("exp", json!(NOW as f64 + 0.5)).is_ok());
    for bad in [json!(-1), json!("9999999999"), json!(1e300), json!(null), json!([NOW])] {
        assert_eq!(with("exp", bad.clone()), Err(Refusal::Malformed("exp")), "{bad}");
    }
    let mut endless = claims();
    endless.as_object_mut().expect("an object").remove("exp");
    assert_eq!(judge(&token(rs256(), &endless)), Err(Refusal::Malformed("exp")));
}

#[test]
fn the_audience_is_one_of_ours() {
    assert!(with("aud", json!("other")).is_ok());
    assert_eq!(with("aud", json!(["x", "weir"])).expect("among them").audience, ["x", "weir"]);
    for bad in
        [json!("x"), json!(["x", "y"]), json!([]), json!(["weir", 5]), json!({"weir": 1}), json!(null), json!("Weir")]
    {
        assert_eq!(with("aud", bad.clone()), Err(Refusal::Audience), "{bad}");
    }
    let mut missing = claims();
    missing.as_object_mut().expect("an object").remove("aud");
    assert_eq!(judge(&token(rs256(), &missing)), Err(Refusal::Audience));
    // The party that is authorised is not the audience.
    missing["azp"] = json!("weir");
    assert_eq!(judge(&token(rs256(), &missing)), Err(Refusal::Audience));
}

#[test]
fn issuer_and_subject_are_exact() {
    for other in ["https://idp.example.com/realm/", "http://idp.example.com/realm", "https://IDP.example.com/realm"] {
        assert_eq!(with("iss", json!(other)), Err(Refusal::IssuerUnknown), "{other}");
    }
    for bad in [json!(""), json!(5), json!("x".repeat(256)), json!(null)] {
        assert_eq!(with("sub", bad), Err(Refusal::Malformed("sub")));
    }
}

#[test]
fn tokens_are_read_strictly() {
    let good = token(rs256(), &claims());
    assert!(judge(&good).is_ok());
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    // 256 bytes end with four bits to spare: setting them changes the text and not the bytes.
    let last = signature.chars().last().expect("a character");
    let trailing = match last {
        'A' => 'B',
        'Q' => 'R',
        'g' => 'h',
        'w' => 'x',
        other => panic!("{other} does not end 256 bytes"),
    };
    let trailing = format!("{message}.{}{trailing}", &signature[..signature.len() - 1]);
    for bad in [
        trailing,
        format!("{good}="),
        format!("{good}.AA"),
        format!("{good} "),
        message.to_owned(),
        String::new(),
        "..".to_owned(),
        "a.b.c".to_owned(),
    ] {
        assert!(matches!(judge(&bad), Err(Refusal::Malformed(_))), "{bad}");
    }
    let double = sign(&rs256().to_string(), &claims().to_string().replacen('{', r#"{"sub":"root","#, 1));
    assert_eq!(judge(&double), Err(Refusal::Malformed("the payload is no JSON object")));
    let double = sign(r#"{"alg":"none","alg":"RS256","kid":"r"}"#, &claims().to_string());
    assert_eq!(judge(&double), Err(Refusal::Malformed("the header is no JSON object")));
    let tampered = format!("{}.{signature}", token(rs256(), &json!({"sub": "x"})).rsplit_once('.').expect("parts").0);
    assert_eq!(judge(&tampered), Err(Refusal::Signature));

    let padded = |length: usize| {
        let mut claims = claims();
        claims["pad"] = json!("x".repeat(length));
        token(rs256(), &claims)
    };
    let longest = (0..).map(|cut| 6000 - cut).find(|length| padded(*length).len() <= 8192).expect("a length");
    assert!(judge(&padded(longest)).is_ok());
    assert_eq!(judge(&padded(longest + 3)), Err(Refusal::Malformed("too long")));
}

#[test]
fn tags_have_one_value_and_end_with_the_session() {
    let tags = |value: Value| with(TAGS, value).map(|identity| identity.tags.into_iter().collect::<Vec<_>>());
    let team = vec![("team".to_owned(), "blue".to_owned())];
    assert_eq!(judge(&token(rs256(), &claims())).expect("a token").tags.len(), 0);
    for good in [json!({"team": ["blue"]}), json!({"team": "blue"})] {
        assert_eq!(tags(json!({"principal_tags": good, "transitive_tag_keys": []})), Ok(team.clone()));
    }
    assert_eq!(tags(json!({})), Ok(Vec::new()));
    for bad in [
        json!("team"),
        json!({"principal_tags": ["team"]}),
        json!({"principal_tags": {"team": ["blue", "red"]}}),
        json!({"principal_tags": {"team": []}}),
        json!({"principal_tags": {"team": 1}}),
        json!({"principal_tags": {}, "transitive_tag_keys": ["team"]}),
        json!({"more": {}}),
    ] {
        assert_eq!(tags(bad.clone()), Err(Refusal::Malformed("tags")), "{bad}");
    }
}

#[test]
fn revoked_tokens_are_those_issued_before() {
    let audiences = ["weir".to_owned()].into();
    let judge = |not_before_ms| {
        let trust = Trust { issuer: ISSUER, audiences: Some(&audiences), not_before_ms };
        let text = token(rs256(), &claims());
        Unverified::parse(&text)?.verify(&key_set(), &trust, NOW_MS).map(drop)
    };
    assert_eq!(judge(NOW_MS - 5_000), Ok(()));
    assert_eq!(judge(NOW_MS - 4_999), Err(Refusal::Revoked));
}

#[test]
fn key_sets_are_bounded() {
    let set = |count: usize| {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "A".repeat(43)});
        KeySet::parse(json!({"keys": vec![key; count]}).to_string().as_bytes()).map(drop)
    };
    assert_eq!(set(100), Ok(()));
    assert_eq!(set(10_000), Err(KeySetError::TooMany));
    for bad in ["", "[]", "{}", r#"{"keys": {}}"#, r#"{"keys": [], "keys": []}"#] {
        assert_eq!(KeySet::parse(bad.as_bytes()).map(drop), Err(KeySetError::Malformed), "{bad}");
    }
    // Of no use: too small, for encryption, of another algorithm, of two minds.
    let small = json!({"kty": "RSA", "kid": "r", "n": BASE64.encode([1; 128]), "e": "AQAB"});
    let mut encrypts = rsa_key();
    encrypts["use"] = json!("enc");
    let mut other = rsa_key();
    other["alg"] = json!("HS256");
    let set = KeySet::parse(json!({"keys": [small, encrypts, other, 5]}).to_string().as_bytes()).expect("a key set");
    assert!(!set.has(Some("r")) && !set.has(None));
    let twice = KeySet::parse(json!({"keys": [rsa_key(), rsa_key()]}).to_string().as_bytes()).expect("a key set");
    assert!(twice.find(Some("r"), Algorithm::Rs256).is_none());
}
