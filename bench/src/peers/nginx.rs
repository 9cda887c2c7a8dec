//! nginx with sendfile over plain files: what the machine can do when nothing is verified and nobody signs.

use super::{Peer, Server, free_ports};
use crate::process::Process;
use anyhow::Result;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

pub fn start(binary: &Path, workers: u32, directory: &Path) -> Result<Server> {
    let [port] = free_ports()?;
    let files = directory.join("files");
    std::fs::create_dir_all(&files)?;
    let file = directory.join("nginx.conf");
    std::fs::write(&file, configuration(directory, port, workers))?;
    let mut command = Command::new(binary);
    command.arg("-e").arg(directory.join("errors")).arg("-p").arg(directory).arg("-c").arg(&file);
    let process = Process::start(&mut command, &directory.join("log"))?;
    let mut server = Server::new(Peer::Nginx, (Ipv4Addr::LOCALHOST, port).into(), process, directory);
    server.files = Some(files);
    let head = server.signer().new_head("GET", "/none", "", None);
    server.wait(&head, |status| status == 404)?;
    Ok(server)
}

fn configuration(directory: &Path, port: u16, workers: u32) -> String {
    let directory = directory.display();
    // Workers keep the user that started them, so that they can read what was written for them.
    format!(
        "daemon off;
user root;
worker_processes {workers};
pid {directory}/pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {directory}/files;
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_out_by_sendfile() {
        let text = configuration(Path::new("/x"), 80, 2);
        assert!(text.contains("sendfile on;") && text.contains("worker_processes 2;"));
        assert!(text.contains("listen 127.0.0.1:80 ") && text.contains("root /x/files;"));
    }
}
