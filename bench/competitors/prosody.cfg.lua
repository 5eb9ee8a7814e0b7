-- Prosody as the bench runs it: group chat with its archive in PostgreSQL, and no TLS, as for Parta.
-- The bench replaces the `@NAME@` placeholders.
daemonize = false
pidfile = "@FOLDER@/data/prosody.pid"
data_path = "@FOLDER@/data"
certificates = "@FOLDER@/data"
log = { error = "*console" }
network_backend = "epoll"
network_settings = { tcp_backlog = 1024 }
interfaces = { "127.0.0.1" }
c2s_ports = { @LISTEN@ }
c2s_direct_tls_ports = { }
s2s_ports = { }
http_ports = { }
https_ports = { }
modules_enabled = { "saslauth", "roster", "disco" }
modules_disabled = { "tls", "s2s" }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
storage = "sql"
sql = {
    driver = "PostgreSQL";
    host = "@HOST@";
    port = @PORT@;
    database = "@DATABASE@";
    username = "@USER@";
    password = "@PASSWORD@";
}

VirtualHost "localhost"

Component "conference.localhost" "muc"
    modules_enabled = { "muc_mam" }
    muc_log_by_default = true
    muc_log_all_rooms = true
    muc_log_expires_after = "never"
    muc_room_default_persistent = true
    max_archive_query_results = 50
