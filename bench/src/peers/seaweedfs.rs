//! SeaweedFS as one process with master, volume server, filer and S3 gateway. Its defaults: nothing is synced before an
//! answer.

use super::{ACCESS_KEY, Peer, SECRET_KEY, Server, free_ports};
use crate::process::Process;
use anyhow::Result;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

pub fn start(binary: &Path, directory: &Path) -> Result<Server> {
    let [master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc] = free_ports()?;
    let data = directory.join("data");
    std::fs::create_dir_all(&data)?;
    let keys = directory.join("s3.json");
    let identity = serde_json::json!({
        "identities": [{
            "name": "bench",
            "credentials": [{ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY }],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }],
    });
    std::fs::write(&keys, identity.to_string())?;
    let mut command = Command::new(binary);
    command.current_dir(directory).arg("server").arg(format!("-dir={}", data.display()));
    command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
    for (name, port) in [
        ("master.port", master),
        ("master.port.grpc", master_grpc),
        ("volume.port", volume),
        ("volume.port.grpc", volume_grpc),
        ("filer.port", filer),
        ("filer.port.grpc", filer_grpc),
        ("s3.port", s3),
        ("s3.port.grpc", s3_grpc),
    ] {
        command.arg(format!("-{name}={port}"));
    }
    // Each scenario has a bucket, and each bucket volumes of its own: the default of 8 for a disk may be too few.
    command.arg("-volume.max=100").arg("-master.volumeSizeLimitMB=1024");
    command.arg(format!("-s3.config={}", keys.display()));
    let process = Process::start(&mut command, &directory.join("log"))?;
    let mut server = Server::new(Peer::Seaweedfs, (Ipv4Addr::LOCALHOST, s3).into(), process, directory);
    // Buckets can be made before there is a volume to write to: only an object that was taken shows that all is up.
    let head = server.signer().new_head("PUT", "/ready", "", Some(0));
    server.wait(&head, |status| status == 200)?;
    let head = server.signer().new_head("PUT", "/ready/ready", "", Some(0));
    server.wait(&head, |status| status == 200)?;
    Ok(server)
}
