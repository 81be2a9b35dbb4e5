import com.google.cloud.tools.jib.api.Containerizer;
import com.google.cloud.tools.jib.api.Jib;
import com.google.cloud.tools.jib.api.RegistryImage;
import com.google.cloud.tools.jib.api.buildplan.AbsoluteUnixPath;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** {@code JibBuild BASE TARGET APP CACHE}: libraries and classes as layers of their own, in the order of the Jib plugins. */
class JibBuild {
  public static void main(String[] arguments) throws Exception {
    System.setProperty("sendCredentialsOverHttp", "true");
    Path app = Path.of(arguments[2]);
    Path cache = Path.of(arguments[3]);
    AbsoluteUnixPath home = AbsoluteUnixPath.get("/home/shop");
    List<Path> libraries;
    try (Stream<Path> files = Files.list(app.resolve("lib"))) {
      libraries = files.sorted().collect(Collectors.toList());
    }
    Jib.from(RegistryImage.named(arguments[0]))
        .addLayer(libraries, home.resolve("lib"))
        .addLayer(List.of(app.resolve("classes")), home)
        .setWorkingDirectory(home)
        .setEntrypoint("java", "-cp", "classes:lib/*", "com.example.Main")
        .containerize(
            Containerizer.to(RegistryImage.named(arguments[1]))
                .setAllowInsecureRegistries(true)
                .setBaseImageLayersCache(cache.resolve("base"))
                .setApplicationLayersCache(cache.resolve("app")));
  }
}
