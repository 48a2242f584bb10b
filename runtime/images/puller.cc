#include "runtime/images/puller.h"

#include "runtime/images/download.h"

namespace kcube::runtime::images {
namespace {

constexpr uint64_t kMaxManifest = 16 << 20;
constexpr size_t kMaxNesting = 4;

struct Fetched {
  std::string text, media_type, digest;
};

class Puller {
 public:
  Puller(RegistryClient& client, const ImageReference& reference, const PullOptions& options, const Blobs& blobs)
      : client_(client),
        session_(client.endpoint().tls, nullptr),
        reference_(reference),
        options_(options),
        blobs_(blobs) {}
  Result<IndexEntry> run();

 private:
  // `name` is a tag or a digest; `expected` the digest that it must have, or empty.
  Result<Fetched> fetch_manifest(const std::string& name, const std::string& expected);

  RegistryClient& client_;
  HttpSession session_;
  const ImageReference& reference_;
  const PullOptions& options_;
  const Blobs& blobs_;
};

Result<Fetched> Puller::fetch_manifest(const std::string& name, const std::string& expected) {
  HttpRequest request{.max_body_bytes = kMaxManifest};
  for (std::string_view type : {kOciIndex, kDockerList, kOciManifest, kDockerManifest})
    request.headers.emplace_back("Accept", type);
  auto response = client_.get(session_, "manifests/" + name, std::move(request));
  if (!response) return fail(response.error());
  if (response->status != 200) return fail(refusal(*response, client_.endpoint().url));
  Fetched fetched{
      .text = std::move(response->body), .media_type = std::string(response->header("content-type")), .digest = {}};
  if (size_t semicolon = fetched.media_type.find(';'); semicolon != std::string::npos)
    fetched.media_type.resize(semicolon);
  fetched.digest = digest_of(fetched.text);
  std::string promised = expected.empty() ? std::string(response->header("docker-content-digest")) : expected;
  if (valid_digest(promised) && promised != fetched.digest)
    return fail(Status::bad_request("the manifest " + promised + " arrived with the digest " + fetched.digest +
                                    ": it was damaged on its way or in the registry"));
  return fetched;
}

Result<IndexEntry> Puller::run() {
  auto fetched = reference_.digest.empty() ? fetch_manifest(reference_.tag, "")
                                           : fetch_manifest(reference_.digest, reference_.digest);
  if (!fetched) return fail(fetched.error());
  std::string root = fetched->digest;
  for (size_t i = 0; is_index(fetched->text, fetched->media_type); ++i) {
    if (i == kMaxNesting) return fail(Status::bad_request("the image's indexes are nested too deeply"));
    auto members = parse_index(fetched->text);
    if (!members) return fail(members.error());
    auto chosen = choose_platform(*members);
    if (!chosen) return fail(chosen.error());
    fetched = fetch_manifest(chosen->digest, chosen->digest);
    if (!fetched) return fail(fetched.error());
  }
  auto manifest = parse_manifest(fetched->text);
  if (!manifest) return fail(manifest.error());
  std::vector<Descriptor> wanted = manifest->layers;
  wanted.insert(wanted.begin(), manifest->config);
  if (auto r = download_blobs(client_, wanted, blobs_, options_.progress); !r) return fail(r.error());
  if (auto written = blobs_.write(fetched->text, fetched->digest); !written) return fail(written.error());
  bool known_type = fetched->media_type == kOciManifest || fetched->media_type == kDockerManifest;
  IndexEntry entry{.manifest = {.media_type = known_type ? fetched->media_type : std::string(kOciManifest),
                                .digest = fetched->digest,
                                .size = fetched->text.size()},
                   .digests = {reference_.name() + "@" + root}};
  if (reference_.digest.empty()) entry.tags = {reference_.to_string()};
  return entry;
}

// Which of several failures the user should read: a refusal tells more than an absence, and that more than silence.
int weight(const Status& status) {
  if (status.code() == 401 || status.code() == 403) return 3;
  if (status.code() == 404 || status.code() == 400) return 2;
  return 1;
}

}  // namespace

Result<IndexEntry> pull_image(Registries& registries, const ImageReference& reference, const PullOptions& options,
                              const Blobs& blobs) {
  auto endpoints = registries.endpoints(reference);
  if (!endpoints) return fail(endpoints.error());
  std::optional<Status> worst;
  bool answered = false;  // the server of the endpoint before
  for (const Endpoint& endpoint : *endpoints) {
    if (endpoint.same_server && answered) continue;
    std::vector<RegistryAuth> credentials = endpoint.auths;
    // The pod's secrets are for the registry in the image's name, not for whoever mirrors it.
    if (endpoint.mirror_of.empty()) credentials.insert(credentials.end(), options.auths.begin(), options.auths.end());
    credentials.emplace_back();  // anonymous
    for (const RegistryAuth& credential : credentials) {
      RegistryClient client(endpoint, credential);
      auto entry = Puller(client, reference, options, blobs).run();
      if (entry) return entry;
      answered = entry.error().code() != 503;
      if (!worst || weight(entry.error()) >= weight(*worst)) worst = entry.error();
      if (entry.error().code() != 401 && entry.error().code() != 403) break;
    }
  }
  return fail(worst->with_context("pull " + reference.to_string()));
}

}  // namespace kcube::runtime::images
