//! nginx with sendfile over plain files: what the machine can do when nothing is verified and nobody signs.

use super::{Peer, Server, free_ports};
use crate::process::Process;
use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

pub fn start(binary: &Path, workers: u32, directory: &Path) -> Result<Server> {
    let [port] = free_ports()?;
    start_on(binary, workers, directory, port, "")
}

/// The same over HTTPS too, with `server.crt` and `server.key` of a folder.
pub fn start_with_tls(binary: &Path, workers: u32, directory: &Path, pair: &Path) -> Result<(Server, SocketAddr)> {
    let [port, https] = free_ports()?;
    let pair = pair.display();
    let more = format!(
        "listen 127.0.0.1:{https} ssl backlog=4096;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {pair}/server.crt;
        ssl_certificate_key {pair}/server.key;"
    );
    Ok((start_on(binary, workers, directory, port, &more)?, (Ipv4Addr::LOCALHOST, https).into()))
}

fn start_on(binary: &Path, workers: u32, directory: &Path, port: u16, more: &str) -> Result<Server> {
    let files = directory.join("files");
    std::fs::create_dir_all(&files)?;
    let file = directory.join("nginx.conf");
    std::fs::write(&file, configuration(directory, port, workers, more))?;
    let mut command = Command::new(binary);
    command.arg("-e").arg(directory.join("errors")).arg("-p").arg(directory).arg("-c").arg(&file);
    let process = Process::start(&mut command, &directory.join("log"))?;
    let mut server = Server::new(Peer::Nginx, (Ipv4Addr::LOCALHOST, port).into(), process, directory);
    server.files = Some(files);
    let head = server.signer().new_head("GET", "/none", "", None);
    server.wait(&head, |status| status == 404)?;
    Ok(server)
}

fn configuration(directory: &Path, port: u16, workers: u32, more: &str) -> String {
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
        {more}
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
        let text = configuration(Path::new("/x"), 80, 2, "");
        assert!(text.contains("sendfile on;") && text.contains("worker_processes 2;"));
        assert!(text.contains("listen 127.0.0.1:80 ") && text.contains("root /x/files;"));
    }
}
