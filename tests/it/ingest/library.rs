//! The terminal's library, as a page of any origin loads it.

use reqwest::Method;
use tillwatch::sdk;

use crate::support::{Reply, Server};

#[tokio::test]
async fn a_version_is_kept_for_good_and_the_line_for_minutes() {
    let server = Server::start().await;
    let version = sdk::VERSION.as_str();
    for (name, kept) in [
        (version, "public, max-age=31536000, immutable"),
        ("v1", "public, max-age=300"),
    ] {
        let path = format!("/sdk/{name}/tillwatch.js");
        let response = server.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("cache-control"), kept);
        assert_eq!(header("content-type"), "text/javascript; charset=utf-8");
        // Without both no page of another origin can check the hash.
        assert_eq!(header("access-control-allow-origin"), "*");
        assert_eq!(header("cross-origin-resource-policy"), "cross-origin");
        assert_eq!(response.text().await.unwrap(), sdk::SCRIPT);

        let gzipped = server.request(Method::GET, &path);
        let gzipped = gzipped.header("accept-encoding", "br, gzip;q=0.8");
        let response = gzipped.send().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let packed = response.bytes().await.unwrap();
        let mut text = String::new();
        let mut decoder = flate2::read::GzDecoder::new(&*packed);
        std::io::Read::read_to_string(&mut decoder, &mut text).unwrap();
        assert_eq!(text, sdk::SCRIPT);
    }
    for path in ["/sdk/0.0.1/tillwatch.js", "/sdk/v2/tillwatch.js"] {
        let response = server.request(Method::GET, path).send().await.unwrap();
        assert_eq!(Reply::of(response).await.code(), "not_found", "{path}");
    }
    server.stop().await;
}
