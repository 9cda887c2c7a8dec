//! The command line as typed. What it means together with file and environment is in `config.rs`.

use clap::{Args as ClapArgs, Parser, Subcommand};
use std::path::PathBuf;

const EXIT_STATUSES: &str = "Exit status: 0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 server unreachable.";

#[derive(Debug, Parser)]
#[command(name = "weir", version, about = "An S3-compatible storage appliance", after_help = EXIT_STATUSES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the appliance
    Serve(Box<ServeArgs>),
    /// Make, list and delete access keys of a running appliance
    Key(KeyArgs),
    /// Make, list and delete users of an account
    User(UserArgs),
    /// Make, list and delete groups of an account, and say who is in them
    Group(GroupArgs),
    /// Make, list and delete policies of an account, and attach them
    Policy(PolicyArgs),
    /// Make, list and delete roles of an account
    Role(RoleArgs),
    /// Temporary credentials that STS gave
    Session(SessionArgs),
    /// Write buckets, owners and keys to a file, or restore them
    Backup(BackupArgs),
    /// Make, list and rotate named encryption keys of a running appliance
    Kms(KmsArgs),
    /// Make, list and delete buckets of a running appliance
    Bucket(BucketArgs),
    /// Show, set and explain limits of rates and bandwidths
    Limits(LimitsArgs),
    /// Look after the disk of a stopped appliance
    Disk(DiskArgs),
    /// Verify an audit log
    Audit(AuditArgs),
    /// Certificates of a running appliance, and what its ports speak
    Tls(TlsArgs),
    /// Tell which policy allows or denies something, and nothing is done
    Why(WhyArgs),
    /// Find out about credentials
    Auth(AuthArgs),
}

#[derive(Debug, ClapArgs)]
pub struct AuthArgs {
    #[command(subcommand)]
    pub verb: AuthVerb,
    /// Data directory where the admin's credentials are looked for last
    #[arg(long, value_name = "DIR", default_value = "./weir-data", global = true)]
    pub data: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum AuthVerb {
    /// Tell whose a token is, whether it is taken, and if not, why: of an issuer of web identities, or of a session. Exit status 0
    /// if it is taken, 1 if not
    ExplainToken {
        /// The token, or - to read it from standard input, so that it stands in no list of processes
        #[arg(value_name = "TOKEN")]
        token: String,
        /// The access key that came with a session token (ASIA...)
        #[arg(long, value_name = "ID")]
        access_key: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub struct TlsArgs {
    #[command(subcommand)]
    pub verb: TlsVerb,
    /// Data directory where the admin's credentials are looked for last
    #[arg(long, value_name = "DIR", default_value = "./weir-data", global = true)]
    pub data: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum TlsVerb {
    /// Show the certificates, what is wrong with others, and what each port speaks
    Show {
        #[arg(long)]
        json: bool,
    },
    /// Load the certificates now. Exit status 1 if something is wrong with them
    Reload {
        #[arg(long)]
        json: bool,
    },
    /// Tell what a load would say, of the appliance's directory or of another one. Exit status 1 if something is wrong
    Validate {
        /// Judge this directory, without a server
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// A name that a certificate must have (repeatable, with --dir)
        #[arg(long, value_name = "NAME", requires = "dir")]
        name: Vec<String>,
        #[arg(long)]
        json: bool,
    },
    /// Issue a certificate by the appliance's own authority, into NAME.crt and NAME.key; without NAME the appliance's own one anew
    Issue {
        /// Its first name: a host name, *.NAME or an IP address; of a client any word
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// One more name (repeatable)
        #[arg(long = "name", value_name = "NAME", requires = "name")]
        names: Vec<String>,
        /// For a client, and not for a server
        #[arg(long, requires = "name")]
        client: bool,
        /// Where the files go
        #[arg(long, value_name = "DIR", default_value = ".")]
        output: PathBuf,
    },
    /// Trust the appliance's own authority from now on, if its fingerprint is this one, as the start and weir tls show print it
    Trust {
        /// SHA-256 of the authority's certificate, in hexadecimal digits
        #[arg(long, value_name = "DIGITS")]
        fingerprint: Option<String>,
    },
    /// Let a port speak http or https from now on, and after a restart: data, https or admin
    Switch {
        #[arg(value_name = "LISTENER")]
        listener: String,
        #[arg(long, value_name = "SCHEME", required_unless_present = "client_auth")]
        scheme: Option<String>,
        /// none, request, require-any, verify-if-given, require-and-verify, or its number 0 to 4
        #[arg(long, value_name = "LEVEL")]
        client_auth: Option<String>,
    },
}

#[derive(Debug, Default, ClapArgs)]
pub struct ServeArgs {
    /// Directory for the data, one per disk [default: ./weir-data]
    #[arg(long, value_name = "DIR")]
    pub data: Vec<PathBuf>,
    /// Address of the S3 port [default: 127.0.0.1:9000]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Address of the admin port [default: 127.0.0.1:9001]
    #[arg(long, value_name = "HOST:PORT")]
    pub admin_listen: Option<String>,
    /// Region that requests are signed for [default: us-east-1]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// HOST:PORT of an issuer of web identities in the server's own network, by http:// only on this machine (repeatable)
    #[arg(long, value_name = "HOST:PORT")]
    pub local_issuer: Vec<String>,
    /// Address or network (10.0.0.0/8) of a proxy in front whose X-Forwarded-For, X-Forwarded-Proto and Forwarded are believed
    /// (repeatable)
    #[arg(long, value_name = "CIDR")]
    pub trusted_proxy: Vec<String>,
    /// Address or network of a proxy of TCP in front of the data ports whose connections begin with a PROXY header, as HAProxy's
    /// `send-proxy-v2` and network load balancers write it (repeatable)
    #[arg(long, value_name = "CIDR")]
    pub proxy_protocol: Vec<String>,
    /// Domain whose subdomains are buckets (repeatable)
    #[arg(long, value_name = "NAME")]
    pub domain: Vec<String>,
    /// Allow HTTP without TLS on addresses that others can reach
    #[arg(long)]
    pub plain_http: bool,
    /// Directory with certificates, pairs NAME.crt and NAME.key: the ports speak HTTPS. Without a pair in it the appliance makes an
    /// authority of its own
    #[arg(long, value_name = "DIR")]
    pub tls_dir: Option<PathBuf>,
    /// Address of one more S3 port, which speaks HTTPS, and --listen goes on speaking HTTP
    #[arg(long, value_name = "HOST:PORT")]
    pub https_listen: Option<String>,
    /// A name for the certificate of the appliance's own authority, besides the machine's names and the domains (repeatable)
    #[arg(long, value_name = "NAME")]
    pub tls_name: Vec<String>,
    /// What S3 ports with TLS ask of clients: none, request, require-any, verify-if-given, require-and-verify, or its number 0 to 4
    /// [default: none]
    #[arg(long, value_name = "LEVEL")]
    pub tls_client_auth: Option<String>,
    /// The same of the admin port [default: none]
    #[arg(long, value_name = "LEVEL")]
    pub tls_admin_client_auth: Option<String>,
    /// Where to take Signature Version 2: off, forms (policies of form uploads), urls (presigned URLs), or all (those and
    /// headers). It is older than what AWS allows for new buckets [default: off]
    #[arg(long, value_name = "WHERE")]
    pub signature_v2: Option<String>,
    /// Make new buckets without the public access block that forbids public policies and access control lists
    #[arg(long)]
    pub allow_public_access: bool,
    /// Object ownership of new buckets that do not say: BucketOwnerEnforced (no access control lists), BucketOwnerPreferred or
    /// ObjectWriter [default: BucketOwnerEnforced]
    #[arg(long, value_name = "NAME")]
    pub object_ownership: Option<String>,
    /// Requests that the target is given at once, at most: below it the limit adapts to what the target can. 0 is no limit
    /// [default: 1024]
    #[arg(long, value_name = "N")]
    pub concurrency_max: Option<u32>,
    /// Seconds that lines of access logs wait before they are an object [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub access_log_seconds: Option<u64>,
    /// How many authentications of one address may fail in a second before it has to wait; 0 for no limit [default: 100]
    #[arg(long, value_name = "N")]
    pub failed_auth_rate: Option<u32>,
    /// Seconds that running requests are given at the end [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub drain_seconds: Option<u64>,
    /// File for the audit log, or - for standard output (repeatable: one of each)
    #[arg(long, value_name = "FILE")]
    pub audit_log: Vec<PathBuf>,
    /// Reads that have lines where they are allowed: off, all, or a number N for one of N [default: off]
    #[arg(long, value_name = "WHICH")]
    pub audit_reads: Option<String>,
    /// Refuse requests with 503 while their lines cannot be taken
    #[arg(long)]
    pub audit_strict: bool,
    /// Bytes after which the audit log begins its next file [default: 67108864]
    #[arg(long, value_name = "BYTES")]
    pub audit_file_bytes: Option<u64>,
    /// Files of the audit log that are kept [default: 32]
    #[arg(long, value_name = "N")]
    pub audit_files: Option<u64>,
    /// Seconds between signed checkpoints of the audit log, at most 3600 [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub audit_checkpoint_seconds: Option<u64>,
    /// TOML file; WEIR_SECTION__KEY in the environment and flags go before it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Allow the flags below, which are for tests and weaken what is promised
    #[arg(long)]
    pub test_mode: bool,
    /// Take customers' encryption keys over plain HTTP
    #[arg(long)]
    pub test_ssec_plain_http: bool,
    /// Let a day of lifecycle rules last so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub test_lifecycle_day: Option<u64>,
    /// Make this owner's account, if it is not there, and let its ARNs name no account, as suites for Ceph expect
    #[arg(long, value_name = "OWNER")]
    pub test_account_without_number: Option<String>,
    #[arg(long, value_name = "BYTES", hide = true)]
    pub segment_bytes: Option<u64>,
    #[arg(long, value_name = "BYTES", hide = true)]
    pub inline_bytes_max: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub struct AuditArgs {
    #[command(subcommand)]
    pub verb: AuditVerb,
}

#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Tell whether a log is the one that was written: no line changed, removed, put in or moved
    Verify {
        /// All files of the log, in any order
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Data directory with the server's public key and what it remembers of the log [default: ./weir-data without --key]
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// File with the server's public key, as in DIR/control/audit.pub
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// The files are a part of the log: neither its beginning nor its end is asked for
        #[arg(long)]
        partial: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub struct WhyArgs {
    /// s3://BUCKET or s3://BUCKET/KEY
    #[arg(value_name = "PLACE")]
    pub place: String,
    /// The access key of who would ask; without it, somebody without a credential
    #[arg(long = "as", value_name = "KEY")]
    pub access_key: Option<String>,
    /// As in policies
    #[arg(long, value_name = "NAME", default_value = "s3:GetObject")]
    pub action: String,
    /// Version of the object
    #[arg(long, value_name = "ID")]
    pub version_id: Option<String>,
    /// A condition key that the request would have: s3:prefix=a/ (repeatable, several values too)
    #[arg(long, value_name = "NAME=VALUE")]
    pub context: Vec<String>,
    #[arg(long)]
    pub json: bool,
    /// Data directory where the admin's credentials are looked for last
    #[arg(long, value_name = "DIR", default_value = "./weir-data")]
    pub data: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct KeyArgs {
    #[command(subcommand)]
    pub verb: KeyVerb,
    /// Data directory where the admin's credentials are looked for last
    #[arg(long, value_name = "DIR", default_value = "./weir-data", global = true)]
    pub data: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// Make a key; its secret is shown this once
    Create {
        #[arg(long, value_name = "ID")]
        owner: String,
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        #[arg(long, value_name = "MAIL")]
        email: Option<String>,
        /// The key sees and changes everything
        #[arg(long)]
        admin: bool,
        /// The key is this user's, which is made if it is not there, and not the account's root's
        #[arg(long, value_name = "NAME", conflicts_with = "admin")]
        user: Option<String>,
        /// The user has this policy: its name or ARN; without --user it is called like the owner
        #[arg(long, value_name = "NAME", conflicts_with = "admin")]
        policy: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// List the keys, without secrets
    List {
        #[arg(long)]
        json: bool,
    },
    /// Delete a key
    Delete {
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Add a key that was made elsewhere
    Import(ImportArgs),
}

#[derive(Debug, ClapArgs)]
pub struct ImportArgs {
    #[arg(long, value_name = "ID")]
    pub owner: String,
    #[arg(long, value_name = "NAME")]
    pub display_name: Option<String>,
    #[arg(long, value_name = "MAIL")]
    pub email: Option<String>,
    #[arg(long, value_name = "AK")]
    pub access_key: String,
    #[arg(long, value_name = "SK")]
    pub secret_key: String,
    /// The key sees and changes everything
    #[arg(long)]
    pub admin: bool,
    /// The tenant that the account belongs to
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// The key is the account's root's, as without --user and --policy
    #[arg(long, conflicts_with_all = ["user", "policy"])]
    pub account_root: bool,
    /// The key is this user's, which is made if it is not there
    #[arg(long, value_name = "NAME", conflicts_with = "admin")]
    pub user: Option<String>,
    /// The user has this policy: its name or ARN; without --user it is called like the owner
    #[arg(long, value_name = "NAME", conflicts_with = "admin")]
    pub policy: Option<String>,
}

/// What verbs about an account have in common.
#[derive(Debug, ClapArgs)]
pub struct AccountArgs {
    /// The account: its owner's id, or its number
    #[arg(long, value_name = "ID", default_value = "admin", global = true)]
    pub account: String,
    /// Data directory where the admin's credentials are looked for last
    #[arg(long, value_name = "DIR", default_value = "./weir-data", global = true)]
    pub data: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct UserArgs {
    #[command(subcommand)]
    pub verb: UserVerb,
    #[command(flatten)]
    pub account: AccountArgs,
}

#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// List the users, with their groups and policies
    List {
        #[arg(long)]
        json: bool,
    },
    /// Make a user; weir key create --user gives it a key
    Create {
        #[arg(value_name = "NAME")]
        name: String,
        #[arg(long, value_name = "PATH")]
        path: Option<String>,
        /// A policy that it has, by name or ARN (repeatable)
        #[arg(long, value_name = "NAME")]
        policy: Vec<String>,
        #[arg(long)]
        json: bool,
    },
    /// Delete a user that has no keys, groups and policies
    Delete {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, ClapArgs)]
pub struct GroupArgs {
    #[command(subcommand)]
    pub verb: GroupVerb,
    #[command(flatten)]
    pub account: AccountArgs,
}

#[derive(Debug, Subcommand)]
pub enum GroupVerb {
    /// List the groups, with their members and policies
    List {
        #[arg(long)]
        json: bool,
    },
    /// Make a group
    Create {
        #[arg(value_name = "NAME")]
        name: String,
        #[arg(long, value_name = "PATH")]
        path: Option<String>,
        /// A policy that it has, by name or ARN (repeatable)
        #[arg(long, value_name = "NAME")]
        policy: Vec<String>,
        #[arg(long)]
        json: bool,
    },
    /// Delete a group without members and policies
    Delete {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Put a user into a group
    Add {
        #[arg(value_name = "GROUP")]
        name: String,
        #[arg(value_name = "USER")]
        user: String,
    },
    /// Take a user out of a group
    Remove {
        #[arg(value_name = "GROUP")]
        name: String,
        #[arg(value_name = "USER")]
        user: String,
    },
}

#[derive(Debug, ClapArgs)]
pub struct PolicyArgs {
    #[command(subcommand)]
    pub verb: PolicyVerb,
    #[command(flatten)]
    pub account: AccountArgs,
}

#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// List the policies, those that are built in too
    List {
        #[arg(long)]
        json: bool,
    },
    /// Show a policy's text
    Show {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Make a policy out of a file
    Create {
        #[arg(value_name = "NAME")]
        name: String,
        /// The JSON of the policy
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Give a policy a new text, which is in force at once
    Update {
        #[arg(value_name = "NAME")]
        name: String,
        /// The JSON of the policy
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Delete a policy that nobody has
    Delete {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Attach a policy, by name or ARN, to a user, a group or a role
    Attach {
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        to: HolderArgs,
    },
    /// Detach it
    Detach {
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        from: HolderArgs,
    },
    /// Tell what policies would decide, and by which statement: of files, without a server, or of a user, a group, a role or a key.
    /// Exit status 0 if all is allowed, 1 if something is refused
    Simulate(Box<SimulateArgs>),
}

#[derive(Debug, ClapArgs)]
pub struct SimulateArgs {
    /// The JSON of a policy that the caller has (repeatable)
    #[arg(long = "policy-file", value_name = "FILE", required_unless_present_any = ["user", "group", "role", "access_key", "bucket_policy_file"])]
    pub policy_files: Vec<PathBuf>,
    /// The JSON of the caller's permissions boundary
    #[arg(long, value_name = "FILE")]
    pub boundary_file: Option<PathBuf>,
    /// The JSON of the policy of the bucket, or the trust policy of the role, that is asked about
    #[arg(long, value_name = "FILE")]
    pub bucket_policy_file: Option<PathBuf>,
    /// The number of the account that the resources belong to [default: the caller's]
    #[arg(long, value_name = "ACCOUNT")]
    pub resource_owner: Option<String>,
    /// ARN of the caller, a user or a role: for the principals of a bucket policy
    #[arg(long, value_name = "ARN", conflicts_with_all = ["user", "group", "role", "access_key"])]
    pub caller: Option<String>,
    /// A user of the account, as it is
    #[arg(long, value_name = "NAME", group = "whose")]
    pub user: Option<String>,
    /// A group of the account
    #[arg(long, value_name = "NAME", group = "whose")]
    pub group: Option<String>,
    /// A role of the account
    #[arg(long, value_name = "NAME", group = "whose")]
    pub role: Option<String>,
    /// The holder of an access key of the account
    #[arg(long = "as", value_name = "KEY", group = "whose")]
    pub access_key: Option<String>,
    /// As in policies (repeatable)
    #[arg(long = "action", value_name = "NAME", required = true)]
    pub actions: Vec<String>,
    /// ARN of what it is done to (repeatable) [default: *]
    #[arg(long = "resource", value_name = "ARN")]
    pub resources: Vec<String>,
    /// A condition key that the request would have: s3:prefix=a/ (repeatable, several values too)
    #[arg(long, value_name = "NAME=VALUE")]
    pub context: Vec<String>,
    #[arg(long)]
    pub json: bool,
}

/// Who has a policy: one of them.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub struct HolderArgs {
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    #[arg(long, value_name = "NAME")]
    pub role: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub struct RoleArgs {
    #[command(subcommand)]
    pub verb: RoleVerb,
    #[command(flatten)]
    pub account: AccountArgs,
}

#[derive(Debug, Subcommand)]
pub enum RoleVerb {
    /// List the roles, with their policies
    List {
        #[arg(long)]
        json: bool,
    },
    /// Make a role
    Create {
        #[arg(value_name = "NAME")]
        name: String,
        /// The JSON of the policy that says who may assume it
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// How long its sessions last at most
        #[arg(long, value_name = "SECONDS")]
        session_seconds: Option<u32>,
        /// A policy that it has, by name or ARN (repeatable)
        #[arg(long, value_name = "NAME")]
        policy: Vec<String>,
        #[arg(long)]
        json: bool,
    },
    /// Delete a role without policies
    Delete {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, ClapArgs)]
pub struct SessionArgs {
    #[command(subcommand)]
    pub verb: SessionVerb,
    #[command(flatten)]
    pub account: AccountArgs,
}

#[derive(Debug, Subcommand)]
pub enum SessionVerb {
    /// End sessions that began before now: all of the account, or those of a user, a role or an issuer
    Revoke {
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        #[arg(long, value_name = "NAME", conflicts_with = "user")]
        role: Option<String>,
        /// The URL of an issuer of web identities, whose tokens of before now are refused too
        #[arg(long, value_name = "URL", conflicts_with_all = ["user", "role"])]
        issuer: Option<String>,
    },
}

#[derive(Debug, ClapArgs)]
pub struct BackupArgs {
    #[command(subcommand)]
    pub verb: BackupVerb,
    /// Data directory of the appliance [default: ./weir-data, or with --from-disk that disk]
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum BackupVerb {
    /// Write the control store of a running appliance to a new file
    Create {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Put the control store of a stopped appliance back, where there is none
    Restore {
        #[arg(value_name = "FILE", conflicts_with = "from_disk")]
        file: Option<PathBuf>,
        /// Take the copy that the disk in this directory keeps
        #[arg(long, value_name = "DIR")]
        from_disk: Option<PathBuf>,
    },
}

#[derive(Debug, ClapArgs)]
pub struct KmsArgs {
    #[command(subcommand)]
    pub verb: KmsVerb,
    /// Data directory where the admin's credentials are looked for last
    #[arg(long, value_name = "DIR", default_value = "./weir-data", global = true)]
    pub data: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum KmsVerb {
    /// Make a key, which requests with aws:kms name
    Create {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List the keys and how many versions each has
    List {
        #[arg(long)]
        json: bool,
    },
    /// Make a new version, which encrypts from now on; the old ones go on decrypting
    Rotate {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, ClapArgs)]
pub struct BucketArgs {
    #[command(subcommand)]
    pub verb: BucketVerb,
    /// Data directory where the admin's credentials are looked for last
    #[arg(long, value_name = "DIR", default_value = "./weir-data", global = true)]
    pub data: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum BucketVerb {
    /// Make a bucket, which belongs to the key's owner
    Create {
        #[arg(value_name = "NAME")]
        name: String,
        #[arg(hide = true, value_name = "SETTING=VALUE")]
        settings: Vec<String>,
    },
    /// List the buckets that the key may use
    List {
        #[arg(long)]
        json: bool,
    },
    /// Delete an empty bucket
    Delete {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, ClapArgs)]
pub struct LimitsArgs {
    #[command(subcommand)]
    pub verb: LimitsVerb,
    /// Data directory where the admin's credentials are looked for last
    #[arg(long, value_name = "DIR", default_value = "./weir-data", global = true)]
    pub data: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum LimitsVerb {
    /// Show all limits, or one
    Show {
        #[arg(value_name = "NAME")]
        name: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Set a limit, which is in force at once
    Set(Box<SetLimitArgs>),
    /// Take a limit away
    Remove {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Tell what the limits would say to a request, and nothing is counted. Exit status 0 if it would pass, 1 if not
    Explain {
        /// The access key of who would ask; without it, somebody without a credential
        #[arg(long = "as", value_name = "KEY")]
        access_key: Option<String>,
        /// list, get, head, put, delete, multipart-control, admin or auth
        #[arg(long, value_name = "VERB", default_value = "get")]
        verb: String,
        #[arg(long, value_name = "NAME")]
        bucket: Option<String>,
        /// The address that it would come from
        #[arg(long, value_name = "IP")]
        from: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub struct SetLimitArgs {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What is counted together: key, principal, bucket, tenant, address or node
    #[arg(long, value_name = "WHAT", required_unless_present = "file")]
    pub per: Option<String>,
    /// Requests a second
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// Requests at once [default: those of one second]
    #[arg(long, value_name = "N")]
    pub burst: Option<u64>,
    /// Bytes a second of what comes: 10MB, 8MiB or a number
    #[arg(long, value_name = "BYTES")]
    pub bandwidth_in: Option<String>,
    /// Bytes a second of what goes
    #[arg(long, value_name = "BYTES")]
    pub bandwidth_out: Option<String>,
    /// About these tenants only (repeatable)
    #[arg(long, value_name = "NAME")]
    pub tenant: Vec<String>,
    /// About callers with these ARNs only, with stars (repeatable)
    #[arg(long, value_name = "ARN")]
    pub principal: Vec<String>,
    /// About these access keys only (repeatable)
    #[arg(long, value_name = "KEY")]
    pub access_key: Vec<String>,
    /// About these buckets only, with stars (repeatable)
    #[arg(long, value_name = "NAME")]
    pub bucket: Vec<String>,
    /// About these only: list, get, head, put, delete, multipart-control, admin, auth (repeatable)
    #[arg(long, value_name = "VERB")]
    pub verb: Vec<String>,
    /// About these networks only (repeatable)
    #[arg(long, value_name = "NETWORK")]
    pub cidr: Vec<String>,
    /// Count what would be refused, and refuse nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The JSON of the limit, in place of all of these
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "per", "rate", "burst", "bandwidth_in", "bandwidth_out", "tenant", "principal", "access_key", "bucket", "verb",
        "cidr", "dry_run",
    ])]
    pub file: Option<PathBuf>,
    /// Only if it has this version; 0 for a new one
    #[arg(long, value_name = "N")]
    pub if_version: Option<u64>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct DiskArgs {
    #[command(subcommand)]
    pub verb: DiskVerb,
}

#[derive(Debug, Subcommand)]
pub enum DiskVerb {
    /// Accept that what the disk's log has lost is lost, so that the appliance starts with the rest
    AcceptLoss {
        /// Directory of the disk
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}
